import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PreparedBatch, prepareBatch } from "../../src/batch/prepare-batch.ts";
import { resolveModel, resultOf, testFolder } from "./files-fixture.ts";

const ROWS = 2000;
const HEAD = 200;
const line = (n: number) => `{"prompt":"${n}"}\n`;
const content = Array.from({ length: ROWS }, (_, n) => line(n)).join("");

function testFiles(text = content, folder = testFolder()) {
  const [inputPath, outputPath] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
  writeFileSync(inputPath, text);
  return { inputPath, outputPath, index: `${outputPath}.index` };
}

const prepare = (files: { inputPath: string; outputPath: string }, options = {}): Promise<PreparedBatch> =>
  prepareBatch({ ...files, resolveModel, costOf: () => 0.5, largeRows: ROWS, ...options });

/** Results for the next rows without one. */
async function answer({ index, output }: PreparedBatch, count: number): Promise<void> {
  const rows = index.nextMissing("simulator:demo", 0, count);
  const use = { prompt: 2, completion: 1, cached: 0, costUsd: 0.5, fromCache: false };
  await output.append(rows.map((row) => ({ ...resultOf(row), use })));
}

describe("a large file", () => {
  test("has its head scanned, then the rest; a smaller one, or a strict run, is scanned whole", async () => {
    const files = testFiles();
    const batch = await prepare(files);
    expect(batch.index.counts().total).toBe(HEAD);
    expect(batch.scan.isComplete).toBe(false);
    await batch.scan.run(500);
    expect(batch.index.counts()).toMatchObject({ total: 700, missing: 700 });
    await batch.close();
    for (const [text, options] of [
      [content, { strict: true, limitRows: ROWS }],
      [content, { limitRows: HEAD + 1 }],
      [content.slice(0, content.lastIndexOf("{")), {}],
    ] as const) {
      const whole = await prepare(testFiles(text), options);
      expect(whole.scan.isComplete).toBe(true);
      await whole.close();
      expect(existsSync(`${whole.files.outputPath}.index`)).toBe(false);
    }
  });

  describe("whose run was broken off", () => {
    let files: ReturnType<typeof testFiles>;
    let batchId: string;

    beforeAll(async () => {
      const folder = mkdtempSync(join(tmpdir(), "gluellm-large-"));
      files = testFiles(content, folder);
      const batch = await prepare(files);
      batchId = batch.output.batchId;
      await answer(batch, 10);
      const row = batch.index.nextMissing("simulator:demo", HEAD - 1, 1)[0]!;
      await batch.close();
      // What came after the last word of the index, as at a kill.
      writeFileSync(`${files.outputPath}.partial`, `${resultOf(row).line}\n{"torn`, { flag: "a" });
    });

    afterAll(() => rmSync(dirname(files.inputPath), { recursive: true, force: true }));

    test("goes on with its index: rows, results, use, and what was written after it", async () => {
      const batch = await prepare(files);
      expect(batch.index.isReopened).toBe(true);
      expect(batch.output).toMatchObject({ batchId, resumed: true, complete: false, carried: 11 });
      expect(batch.index.counts()).toMatchObject({ total: HEAD, succeeded: 11 });
      expect(batch.output.use).toMatchObject({ prompt: 30, costUsd: 5.5 });
      await batch.scan.run(100);
      await answer(batch, 5);
      await batch.close();
      const again = await prepare(files);
      expect(again.index.counts()).toMatchObject({ total: HEAD + 100, succeeded: 16 });
      await again.close();
      expect(readFileSync(`${files.outputPath}.partial`, "utf8")).not.toContain("torn");
    });

    test.each<[string, (inputPath: string) => void, object]>([
      ["other options", () => {}, { promptField: "prompt" }],
      ["another meaning of a model's name", () => {}, { resolveModel: () => resolveModel("openai:other") }],
      ["an input of another time", (inputPath) => utimesSync(inputPath, 1, 1), {}],
    ])("trusts no index of %s: all is scanned, and nothing is lost", async (_, change, options) => {
      change(files.inputPath);
      const prepared = prepare(files, options);
      if ("resolveModel" in options) return expect(prepared).rejects.toMatchObject({ code: "other_input" });
      const batch = await prepared;
      expect(batch.index.isReopened).toBe(false);
      expect(batch.scan.isComplete).toBe(true);
      expect(batch.index.counts()).toMatchObject({ total: ROWS, succeeded: 16 });
      await batch.close();
      const before = statSync(files.index).size;
      const again = await prepare(files, options);
      expect(again.index.isReopened).toBe(true);
      expect(again.index.counts()).toMatchObject({ total: ROWS, succeeded: 16 });
      await again.close();
      expect(statSync(files.index).size).toBe(before);
    });
  });

  test("a changed block is seen even when size and time are the same", async () => {
    const wide = Array.from(
      { length: ROWS },
      (_, n) => `{"prompt":"${String(n).padStart(4000, "x")}"}\n`,
    ).join("");
    const files = testFiles(wide);
    utimesSync(files.inputPath, 1000, 1000);
    const first = await prepare(files);
    await first.scan.run();
    await first.close();
    writeFileSync(files.inputPath, wide.replace("x1", "y1"));
    utimesSync(files.inputPath, 1000, 1000);
    const second = await prepare(files);
    expect(second.index.isReopened).toBe(false);
    await second.close();
  });

  test("a fault in the rest comes with its line; what is before it stays", async () => {
    const files = testFiles(`${content}{"custom_id":"line-7","prompt":"x"}\n`);
    const batch = await prepare(files);
    await answer(batch, 3);
    await expect(batch.scan.run()).rejects.toMatchObject({
      code: "duplicate_custom_id",
      message: expect.stringContaining(`in.jsonl:${ROWS + 1}: custom_id "line-7" was used before, at`),
    });
    expect(batch.index.counts()).toMatchObject({ total: ROWS, succeeded: 3 });
    await batch.close();
  });

  test("malformed rows of the rest are in the output at the end", async () => {
    const files = testFiles(`${content}{"prompt":1}\n`);
    const batch = await prepare(files);
    await batch.scan.run();
    for (let n = 0; n < 10; n += 1) await answer(batch, ROWS / 10);
    await batch.output.finish();
    const lines = readFileSync(files.outputPath, "utf8").trimEnd().split("\n");
    expect(lines).toHaveLength(ROWS + 1);
    expect(lines[1]).toContain("answer 2");
    expect(lines.at(-1)).toContain("invalid_prompt");
    expect(existsSync(files.index)).toBe(false);
    expect(existsSync(`${files.index}-wal`)).toBe(false);
    const again = await prepare(files);
    expect(again.output.complete).toBe(true);
    await again.close();
    expect(readdirSync(dirname(files.index)).sort()).toEqual(["in.jsonl", "out.errors.jsonl", "out.jsonl"]);
  });
});
