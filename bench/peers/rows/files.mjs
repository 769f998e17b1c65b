/** What every script of this folder has: the rows of the input that the output lacks, and a way to add an answer to it. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";

const [input, output] = process.argv.slice(2);

/** Calls at a time, what GlueLLM takes by default. */
export const CONCURRENCY = 50;
/** Known to the script, as there is no other way; absent: there is none. */
export const PER_MINUTE = process.env.REQUESTS_PER_MINUTE && Number(process.env.REQUESTS_PER_MINUTE);
/** The SDKs make so many themselves, and wait as the provider says. */
export const RETRIES = 10;

const linesOf = (path) =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

export function rowsToDo() {
  const done = new Set(existsSync(output) ? linesOf(output).map((line) => line.custom_id) : []);
  return linesOf(input).filter((row) => !done.has(row.custom_id));
}

export function append(row, answer) {
  appendFileSync(output, `${JSON.stringify({ custom_id: row.custom_id, answer })}\n`);
}
