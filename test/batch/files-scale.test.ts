import { createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { expect, test } from "vitest";
import { outputOf } from "../support/processes.ts";
import { sizeOf } from "../support/sample.ts";
import { testFolder } from "./files-fixture.ts";

const PROGRAM = join(import.meta.dirname, "files-child.ts");

function* lines(rows: number) {
  const text = "How many eggs does a duck lay per day? ".repeat(6);
  for (let i = 1; i <= rows; i += 1) yield `${JSON.stringify({ prompt: `${i}: ${text}` })}\n`;
}

async function memoryOf(rows: number): Promise<{ liveBytes: number; peakKiB: number }> {
  const folder = testFolder();
  const [input, output] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
  await pipeline(Readable.from(lines(rows)), createWriteStream(input));
  // With a heap as large as V8 likes, the peak tells how lazily it collects, not what the rows take.
  const heap = ["--expose-gc", "--max-semi-space-size=4", "--max-old-space-size=64"];
  const measured = await outputOf(process.execPath, [...heap, PROGRAM, "measure", input, output]);
  const { succeeded, ...memory } = JSON.parse(measured);
  expect(succeeded).toBe(rows);
  expect(readFileSync(output, "latin1").split("\n", rows + 2)).toHaveLength(rows + 1);
  return memory;
}

test("memory does not grow with the rows", { tags: "long" }, async () => {
  // The index's page cache (8 MiB) and the compiled code are complete only after some 50,000 rows.
  const small = await memoryOf(sizeOf(50_000, 10_000));
  const large = await memoryOf(sizeOf(100_000, 20_000));
  expect(large.liveBytes / small.liveBytes).toBeLessThan(1.15);
  expect(large.peakKiB / small.peakKiB).toBeLessThan(sizeOf(1.2, 1.4));
});
