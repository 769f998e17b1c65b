import { InputError } from "../shared/errors.ts";
import { isObject, parseJson } from "../shared/json.ts";
import { type CsvForm, columnsOf, readHeader } from "./csv-rows.ts";
import { findSyntaxProblem, placeIn } from "./json-syntax.ts";
import type { InputHandle } from "./line-reader.ts";

/**
 * How a file holds its rows: `jsonl`, one JSON object per line; `json`, a JSON array of objects, or objects one after the
 * other over several lines; `csv`, with a header.
 */
export type InputFormat = "jsonl" | "json" | "csv";
export const INPUT_FORMATS: readonly InputFormat[] = ["jsonl", "json", "csv"];

/** A format, and what has to be known to read it. */
export type InputForm = { format: "jsonl" | "json" } | CsvForm;

const HEAD_BYTES = 256 * 1024;
/** Lines that are looked at for one that is a row. */
const MAX_LINES = 100;
const OTHERS: readonly [string, string, string][] = [
  ["fffe", "UTF-16 text", "save it as UTF-8"],
  ["feff", "UTF-16 text", "save it as UTF-8"],
  ["1f8b", "compressed", "unpack it first: gunzip PATH"],
  ["28b52ffd", "compressed", "unpack it first: unzstd PATH"],
  ["504b0304", "a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"],
  ["50415231", "a Parquet file", "write its rows as JSON lines"],
];
const HINT =
  "give it JSON lines, a JSON array, or CSV whose header has a column prompt; --input-format says which it should be";

/**
 * Finds by the first bytes how a file holds its rows.
 * @throws InputError naming what else it is, or the first place where it is no JSON
 */
export async function findForm(
  handle: InputHandle,
  path: string,
  given: InputFormat | undefined,
  promptField: string | undefined,
): Promise<InputForm> {
  const bytes = Buffer.alloc(HEAD_BYTES);
  const { bytesRead } = await handle.read(bytes, 0, HEAD_BYTES, 0);
  const start = bytes.toString("hex", 0, 4);
  const other = OTHERS.find(([magic]) => start.startsWith(magic));
  if (other) throw new InputError(`${path} is ${other[1]}`, other[2].replace("PATH", path));
  const head = bytes.toString("utf8", 0, bytesRead);
  const wanted = [promptField ?? "prompt", ...(promptField === undefined ? ["messages", "body"] : [])];
  if (given === "csv") return (await readHeader(head, wanted)) ?? refuseHeader(path, head, wanted);
  if (given) return { format: given };
  return formOf(head.replace(/^\ufeff/, ""), bytesRead === HEAD_BYTES) ?? csvOf(path, head, wanted);
}

/** Of JSON, which; undefined when no line is a JSON object. */
function formOf(head: string, isCut: boolean): InputForm | undefined {
  const lines = head.split("\n").filter((line) => line.trim() !== "");
  const [first = ""] = lines;
  const char = first.trimStart()[0];
  if (char === undefined || isObject(parseJson(first))) return { format: "jsonl" };
  if (char === "[" && !hasNextLine(first, lines[1])) return { format: "json" };
  // A line that the head does not hold whole.
  if (char === "{" && isCut && lines.length === 1) return { format: "jsonl" };
  if (char === "{" && isObject(parseJson(firstValue(head)))) return { format: "json" };
  const isLines = lines.slice(0, MAX_LINES).some((line) => isObject(parseJson(line)));
  // A row that the head does not hold whole.
  if (char === "{" && isCut && firstValue(head) === "" && (first.trim() === "{" || !isLines))
    return { format: "json" };
  return isLines ? { format: "jsonl" } : undefined;
}

/** Whether a line that begins with [ is one of several, and not the beginning of an array. */
function hasNextLine(first: string, second: string | undefined): boolean {
  if (second === undefined) return false;
  return parseJson(first) !== undefined || (first.trim() !== "[" && isObject(parseJson(second)));
}

/** The text up to the bracket that closes its first one; empty when there is none. */
function firstValue(text: string): string {
  let depth = 0;
  for (const { 0: token, index } of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/gs)) {
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    if (depth === 0 && !token.startsWith('"')) return text.slice(0, index + 1);
  }
  return "";
}

async function csvOf(path: string, head: string, wanted: readonly string[]): Promise<InputForm> {
  const form = await readHeader(head, wanted);
  if (form) return form;
  if (/\.[ct]sv$/i.test(path)) return refuseHeader(path, head, wanted);
  const line = head.split("\n").findIndex((text) => text.trim() !== "");
  const text = head.split("\n")[line]?.replace(/\r$/, "") ?? "";
  const { at, reason } = findSyntaxProblem(text) ?? { at: 0, reason: "the first line is no JSON object" };
  throw new InputError(
    `${path}:${line + 1} is no JSON, and no line after it is a row: ${reason}, at ${placeIn(text, at)}`,
    HINT,
    "unknown_format",
  );
}

async function refuseHeader(path: string, head: string, wanted: readonly string[]): Promise<never> {
  const columns = (await columnsOf(head))?.join(", ").slice(0, 200);
  throw new InputError(
    `${path}:1 has no header with a column ${wanted.slice(0, 2).join(" or ")}${columns ? `: its columns are ${columns}` : ""}`,
    "name the column that holds the prompts with --prompt-field",
    "missing_prompt",
  );
}
