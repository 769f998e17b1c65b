import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { InputFile } from "../../src/batch/input-file.ts";
import { RowReader } from "../../src/batch/row-reader.ts";
import { InputError } from "../../src/shared/errors.ts";
import {
  allMissing,
  failure,
  jsonl,
  openRun,
  resolveModel,
  resultOf,
  type ScanChoice,
  testFolder,
  writeInput,
} from "./files-fixture.ts";

const prompts = (...names: string[]) => names.map((prompt) => ({ prompt }));

function testFiles() {
  const folder = testFolder();
  const outputPath = join(folder, "out.jsonl");
  return {
    folder,
    outputPath,
    partial: `${outputPath}.partial`,
    orphaned: join(folder, "out.orphaned.jsonl"),
  };
}

/** One run over these rows; answers name the prompt. Returns the lines it had to send. */
async function runOf(
  { folder, outputPath }: ReturnType<typeof testFiles>,
  rows: readonly unknown[],
  options: ScanChoice & { retryFailed?: boolean; failing?: readonly number[]; stopAfter?: number } = {},
) {
  const { failing = [], stopAfter = Number.POSITIVE_INFINITY, ...choice } = options;
  const inputPath = writeInput(rows, folder);
  const { index, output } = await openRun(inputPath, outputPath, choice);
  const input = await InputFile.open({ inputPath, ...choice });
  const reader = new RowReader({ input, resolveModel, ...choice });
  const sent: number[] = [];
  for (const indexRow of allMissing(index).slice(0, stopAfter)) {
    const row = await reader.readRow(indexRow);
    const record = failing.includes(row.line) ? failure() : undefined;
    await output.append([resultOf(row, record, row.customId)]);
    sent.push(row.line);
  }
  await input.close();
  if (stopAfter === Number.POSITIVE_INFINITY) await output.finish();
  else await output.close();
  return { sent, output };
}

const read = (path: string) => readFileSync(path, "utf8");
const summary = (path: string) =>
  read(path)
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))
    .map((line) => [line.custom_id, line.response?.body.choices?.[0].message.content ?? line.error.code]);

describe("an input that changed between runs", () => {
  test("rows that were added are sent, the others carried over", async () => {
    const files = testFiles();
    await runOf(files, [{ prompt: "a", custom_id: "x" }, { prompt: "b" }]);
    const { sent, output } = await runOf(files, [
      { prompt: "a", custom_id: "x" },
      { prompt: "b" },
      { prompt: "c" },
    ]);
    expect(sent).toEqual([3]);
    expect(output).toMatchObject({
      carried: 2,
      resumed: true,
      orphaned: 0,
      use: { prompt: 20, completion: 10 },
    });
    expect(summary(files.outputPath)).toEqual([
      ["x", "answer 1"],
      ["line-2", "answer 2"],
      ["line-3", "answer 3"],
    ]);
  });

  test("rows that moved keep their results under their new names, without a call", async () => {
    const files = testFiles();
    await runOf(files, [...prompts("a", "b"), { prompt: "c", custom_id: "x" }]);
    const { sent, output } = await runOf(files, [{ prompt: "c", custom_id: "x" }, "", ...prompts("b", "a")]);
    expect(sent).toEqual([]);
    expect(output).toMatchObject({ complete: false, carried: 3 });
    expect(summary(files.outputPath)).toEqual([
      ["x", "answer 3"],
      ["line-3", "answer 2"],
      ["line-4", "answer 1"],
    ]);
    expect(
      (await runOf(files, [{ prompt: "c", custom_id: "x" }, "", ...prompts("b", "a")])).output.complete,
    ).toBe(true);
  });

  test("a malformed line that moved or was mended", async () => {
    const files = testFiles();
    await runOf(files, ["{", ...prompts("a")]);
    await runOf(files, [...prompts("a"), "{"]);
    expect(summary(files.outputPath)).toEqual([
      ["line-1", "answer 2"],
      ["line-2", "invalid_json_line"],
    ]);
    expect(read(files.outputPath)).toContain("in.jsonl:2: ");
    const { sent } = await runOf(files, prompts("a", "b"));
    expect(sent).toEqual([2]);
    expect(existsSync(join(files.folder, "out.errors.jsonl"))).toBe(false);
  });

  test("results of rows that are gone are left out, set aside, and found again", async () => {
    const files = testFiles();
    await runOf(files, prompts("a", "b", "c"), { failing: [3] });
    const edited = await runOf(files, prompts("a", "B"));
    expect(edited.sent).toEqual([2]);
    expect(edited.output.orphaned).toBe(2);
    expect(summary(files.outputPath)).toEqual([
      ["line-1", "answer 1"],
      ["line-2", "answer 2"],
    ]);
    expect(summary(files.orphaned)).toEqual([["line-2", "answer 2"]]);
    expect((await runOf(files, prompts("a", "B"))).output).toMatchObject({ complete: true, orphaned: 0 });
    const restored = await runOf(files, prompts("b", "a", "B", "d"));
    expect(restored.sent).toEqual([4]);
    expect(summary(files.outputPath).map(([name]) => name)).toEqual(["line-1", "line-2", "line-3", "line-4"]);
    expect(existsSync(files.orphaned)).toBe(false);
  });

  test("a smaller --limit loses nothing that was paid for", async () => {
    const files = testFiles();
    const rows = prompts("a", "b", "c", "d", "e");
    await runOf(files, rows, { stopAfter: 4 });
    const limited = await runOf(files, rows, { limitRows: 2 });
    expect(limited.sent).toEqual([]);
    expect(summary(files.outputPath)).toHaveLength(2);
    expect(summary(files.orphaned)).toHaveLength(2);
    expect((await runOf(files, rows)).sent).toEqual([5]);
    expect(summary(files.outputPath)).toHaveLength(5);
    const finished = read(files.outputPath);
    expect((await runOf(files, rows, { limitRows: 2 })).output.complete).toBe(true);
    expect(read(files.outputPath)).toBe(finished);
  });
});

describe("an output of somebody else", () => {
  test.each([
    [
      "another input's results",
      async (files: ReturnType<typeof testFiles>) => void (await runOf(files, prompts("x", "y"))),
    ],
    [
      "any other file",
      async ({ outputPath }: ReturnType<typeof testFiles>) => writeFileSync(outputPath, "my notes\n"),
    ],
    [
      "OpenAI's own results",
      async ({ outputPath }: ReturnType<typeof testFiles>) =>
        writeFileSync(
          outputPath,
          jsonl([{ id: "batch_req_abc", custom_id: "line-1", response: {}, error: null }]),
        ),
    ],
  ])("%s: refused and left alone", async (_, prepare) => {
    const files = testFiles();
    await prepare(files);
    const before = read(files.outputPath);
    const run = runOf(files, [...prompts("a", "b"), "{"]);
    await expect(run).rejects.toThrow(InputError);
    await expect(run).rejects.toMatchObject({
      code: "other_input",
      hint: "choose another -o, or move it away",
    });
    expect(read(files.outputPath)).toBe(before);
    expect([files.partial, `${files.outputPath}.index`].filter((path) => existsSync(path))).toEqual([]);
  });

  test("a partial with another model's results is refused; one without results is not", async () => {
    const files = testFiles();
    const other = prompts("a", "b").map((row) => ({ ...row, model: "openai:gpt" }));
    const { output } = await runOf(files, other, { stopAfter: 1, failing: [1] });
    const { output: next } = await runOf(files, prompts("a", "b"), { stopAfter: 1 });
    expect(next.batchId).toBe(output.batchId);
    const before = read(files.partial);
    const third = prompts("a", "b").map((row) => ({ ...row, model: "openai:third" }));
    await expect(runOf(files, third)).rejects.toMatchObject({ code: "other_input" });
    expect(read(files.partial)).toBe(before);
  });

  test("failures of rows that were corrected since are no obstacle: nobody paid for them", async () => {
    const files = testFiles();
    await runOf(files, [{ question: "a" }, { custom_id: "c", prompt: 1 }, "{", { prompt: "b" }], {
      failing: [4],
    });
    expect(summary(files.outputPath).map(([, code]) => code)).toEqual([
      ...["missing_prompt", "invalid_prompt", "invalid_json_line", "invalid_request"],
    ]);
    const corrected = [
      { question: "a" },
      { custom_id: "c", question: "1" },
      { question: "x" },
      { question: "b!" },
    ];
    for (const retryFailed of [true, false]) {
      const { sent } = await runOf(files, corrected, { promptField: "question", retryFailed });
      expect(sent).toEqual(retryFailed ? [1, 2, 3, 4] : []);
    }
    expect(summary(files.outputPath).map(([id]) => id)).toEqual(["line-1", "c", "line-3", "line-4"]);
    expect(existsSync(files.orphaned)).toBe(false);
  });

  test("a partial that is not ours, or of another version", async () => {
    const files = testFiles();
    for (const text of [
      "my notes\n",
      "x".repeat(1000),
      '{"gluellm_batch":"batch_000000000000000000000000","v":2}\n',
      "null\n",
    ]) {
      writeFileSync(files.partial, text);
      await expect(runOf(files, prompts("a"))).rejects.toThrow(InputError);
      expect(read(files.partial)).toBe(text);
    }
  });

  test("an empty output file is no obstacle", async () => {
    const files = testFiles();
    writeFileSync(files.outputPath, "");
    expect((await runOf(files, prompts("a"))).sent).toEqual([1]);
    expect(summary(files.outputPath)).toHaveLength(1);
  });
});
