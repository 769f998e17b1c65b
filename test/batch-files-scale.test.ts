import { execFile } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { testFolder } from "./batch-files-fixture.ts";

const PROGRAM = join(import.meta.dirname, "batch-files-child.ts");

function* lines(rows: number) {
  const text = "How many eggs does a duck lay per day? ".repeat(6);
  for (let i = 1; i <= rows; i += 1) yield `${JSON.stringify({ prompt: `${i}: ${text}` })}\n`;
}

async function peakOf(rows: number): Promise<number> {
  const folder = testFolder();
  const [input, output] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
  await pipeline(Readable.from(lines(rows)), createWriteStream(input));
  // A small young generation: otherwise the peak tells how lazily V8 collects, not what the rows take.
  const args = ["--max-semi-space-size=2", PROGRAM, "measure", input, output];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { succeeded, peakKiB } = JSON.parse(stdout);
  expect(succeeded).toBe(rows);
  expect(readFileSync(output, "latin1").split("\n", rows + 2)).toHaveLength(rows + 1);
  return peakKiB;
}

test("memory does not grow with the rows", async () => {
  const small = await peakOf(10_000);
  const large = await peakOf(100_000);
  expect(large / small).toBeLessThan(1.4);
});
