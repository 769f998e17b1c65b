import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { outputLine } from "../../src/batch/output-line.ts";
import { readBatchId } from "../../src/batch/partial-header.ts";
import {
  allMissing,
  failure,
  jsonl,
  openRun,
  resultOf,
  success,
  testFolder,
  writeInput,
} from "./files-fixture.ts";

const prompts = (...names: string[]) => names.map((prompt) => ({ prompt }));

function testRun(rows: readonly unknown[]) {
  const folder = testFolder();
  const file = (name: string) => join(folder, name);
  const inputPath = writeInput(rows, folder);
  const outputPath = file("out.jsonl");
  const rewrite = (next: readonly unknown[]) => writeFileSync(inputPath, jsonl(next));
  const open = (options: Parameters<typeof openRun>[2] = {}) => openRun(inputPath, outputPath, options);
  return { file, inputPath, outputPath, partial: `${outputPath}.partial`, rewrite, open };
}

const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
const answersOf = (path: string) =>
  linesOf(path).map((line) => line.response?.body.choices?.[0].message.content ?? line.error.code);

/** Answers what is missing, last row first. */
async function feed({ index, output }: Awaited<ReturnType<typeof openRun>>, failing: readonly number[] = []) {
  const rows = allMissing(index).reverse();
  await output.append(rows.map((row) => resultOf(row, failing.includes(row.line) ? failure() : undefined)));
  return rows.map(({ line }) => line).sort((a, b) => a - b);
}

describe("a whole run", () => {
  test("header first, results as they come, output in input order", async () => {
    const { open, outputPath, partial, file } = testRun(prompts("a", "b", "c"));
    const run = await open();
    const { output, index } = run;
    expect(output).toMatchObject({
      resumed: false,
      complete: false,
      carried: 0,
      orphaned: 0,
      use: { prompt: 0, completion: 0 },
    });
    expect(output.batchId).toMatch(/^batch_[0-9a-f]{24}$/);
    expect(readFileSync(partial, "utf8")).toBe(`{"gluellm_batch":"${output.batchId}","v":1}\n`);
    expect(existsSync(outputPath)).toBe(false);
    await feed(run, [2]);
    expect(index.counts()).toMatchObject({ succeeded: 2, failed: 1, missing: 0 });
    expect(index.counts().models.get("simulator:demo")).toEqual({
      total: 3,
      succeeded: 2,
      failed: 1,
      missing: 0,
    });
    await output.finish();
    expect(answersOf(outputPath)).toEqual(["answer 1", "invalid_request", "answer 3"]);
    expect(linesOf(outputPath).map((line) => line.custom_id)).toEqual(["line-1", "line-2", "line-3"]);
    expect(linesOf(file("out.errors.jsonl"))).toEqual([linesOf(outputPath)[1]]);
    expect(
      [partial, `${outputPath}.index`, `${outputPath}.tmp`, file("out.orphaned.jsonl")].filter((path) =>
        existsSync(path),
      ),
    ).toEqual([]);
    expect(index.counts()).toMatchObject({ total: 3 });
  });

  test("a rerun of a finished batch touches nothing", async () => {
    const { open, outputPath, partial, file } = testRun([...prompts("a", "b"), "{"]);
    const run = await open();
    await feed(run, [2]);
    await run.output.finish();
    const before = [outputPath, file("out.errors.jsonl")].map((path) => statSync(path, { bigint: true }));
    const rerun = await open();
    expect(rerun.output).toMatchObject({
      complete: true,
      resumed: true,
      carried: 2,
      orphaned: 0,
      use: { prompt: 10, completion: 5 },
    });
    expect(rerun.index.counts()).toMatchObject({ missing: 0, succeeded: 1, failed: 2, malformed: 1 });
    expect(existsSync(partial)).toBe(false);
    await rerun.output.finish();
    const after = [outputPath, file("out.errors.jsonl")].map((path) => statSync(path, { bigint: true }));
    expect(after.map(({ mtimeNs, ino }) => [mtimeNs, ino])).toEqual(
      before.map(({ mtimeNs, ino }) => [mtimeNs, ino]),
    );
    expect(existsSync(`${outputPath}.index`)).toBe(false);
  });

  test("an interrupted run goes on with the same batch", async () => {
    const { open, outputPath, partial } = testRun(prompts("a", "b", "c"));
    const first = await open();
    await first.output.append([resultOf(allMissing(first.index)[1]!)]);
    await first.output.close();
    expect(existsSync(partial)).toBe(true);
    expect(existsSync(`${outputPath}.index`)).toBe(false);
    expect(readBatchId(outputPath)).toBe(first.output.batchId);
    const second = await open();
    expect(second.output).toMatchObject({
      batchId: first.output.batchId,
      resumed: true,
      complete: false,
      carried: 1,
      use: { prompt: 10, completion: 5 },
    });
    expect(await feed(second)).toEqual([1, 3]);
    await second.output.finish();
    expect(answersOf(outputPath)).toEqual(["answer 1", "answer 2", "answer 3"]);
  });

  test("--retry-failed sends failed rows again, their last result counts", async () => {
    const { open, outputPath, file } = testRun([...prompts("a", "b", "c"), "{"]);
    const first = await open();
    await feed(first, [1, 3]);
    await first.output.finish();
    const second = await open({ retryFailed: true });
    expect(second.output).toMatchObject({ complete: false, carried: 1 });
    expect(await feed(second, [3])).toEqual([1, 3]);
    await second.output.finish();
    expect(answersOf(outputPath)).toEqual(["answer 1", "answer 2", "invalid_request", "invalid_json_line"]);
    expect(answersOf(file("out.errors.jsonl"))).toEqual(["invalid_request", "invalid_json_line"]);
  });

  test("no errors file stays when nothing failed", async () => {
    const { open, file } = testRun(prompts("a", "b"));
    const first = await open();
    await feed(first, [1]);
    await first.output.finish();
    expect(existsSync(file("out.errors.jsonl"))).toBe(true);
    const second = await open({ retryFailed: true });
    await feed(second);
    await second.output.finish();
    expect(existsSync(file("out.errors.jsonl"))).toBe(false);
  });

  test("malformed rows get their line even when nothing else is there", async () => {
    const { open, outputPath, inputPath } = testRun([{ custom_id: "c" }]);
    const { output, index } = await open();
    expect(output.complete).toBe(false);
    expect(index.counts()).toMatchObject({ missing: 0, failed: 1 });
    await output.finish();
    const [line] = linesOf(outputPath);
    expect(line).toMatchObject({
      custom_id: "c",
      response: null,
      error: { code: "missing_prompt", attempts: 0 },
    });
    expect(line.error.message).toContain(`${inputPath}:1: `);
  });

  test("a file as large as several copy buffers stays in order", async () => {
    const { open, outputPath } = testRun(prompts("a", "b", "c", "d", "e", "f"));
    const { index, output } = await open();
    const long = (line: number) => `${line}`.repeat(line === 3 ? 3_000_000 : 400_000);
    for (const row of allMissing(index).reverse())
      await output.append([resultOf(row, success(long(row.line)))]);
    await output.finish();
    expect(answersOf(outputPath)).toEqual([1, 2, 3, 4, 5, 6].map(long));
  });
});

describe("append", () => {
  test("calls at the same time take turns", async () => {
    const { open, outputPath } = testRun(Array.from({ length: 100 }, (_, i) => ({ prompt: `p${i}` })));
    const { index, output } = await open();
    await Promise.all(allMissing(index).map((row) => output.append([resultOf(row)])));
    await output.finish();
    expect(answersOf(outputPath)).toEqual(Array.from({ length: 100 }, (_, i) => `answer ${i + 1}`));
  });

  test("a later result wins, but no failure over a success", async () => {
    const { open, outputPath } = testRun(prompts("a", "b"));
    const { index, output } = await open();
    const [a, b] = allMissing(index);
    await output.append([resultOf(a!, failure()), resultOf(b!)]);
    await output.append([resultOf(a!), resultOf(b!, failure())]);
    expect(index.counts()).toMatchObject({ succeeded: 2, failed: 0, missing: 0 });
    await output.close();
    const again = await open();
    expect(again.index.counts()).toMatchObject({ succeeded: 2, failed: 0 });
    await again.output.finish();
    expect(answersOf(outputPath)).toEqual(["answer 1", "answer 2"]);
  });

  test("finish refuses while rows are missing, and keeps the partial", async () => {
    const { open, partial } = testRun(prompts("a"));
    const { output } = await open();
    await expect(output.finish()).rejects.toThrow("1 rows have no result");
    expect(existsSync(partial)).toBe(true);
    await output.close();
  });
});

describe("outputLine", () => {
  const row = { id: "0".repeat(32), customId: "c" };
  const head = { id: `batch_req_${"0".repeat(32)}`, custom_id: "c" };

  test("a success", () => {
    const record = success("hi");
    const response = { status_code: 200, request_id: "req-1", body: record.response?.body };
    expect(JSON.parse(outputLine(row, record))).toEqual({ ...head, response, error: null });
  });

  test("a failure with and without an HTTP answer", () => {
    const error = { code: "invalid_request", message: "refused", hint: "change it", attempts: 2 };
    expect(JSON.parse(outputLine(row, failure()))).toEqual({ ...head, response: null, error });
    expect(JSON.parse(outputLine(row, failure({ status: 400, providerRequestId: "r" })))).toEqual({
      ...head,
      response: {
        status_code: 400,
        request_id: "r",
        body: { error: { code: "invalid_request", message: "refused" } },
      },
      error,
    });
  });

  test("a cancelled row", () => {
    const line = JSON.parse(outputLine(row, { ...failure(), status: "cancelled", error: undefined }));
    expect(line).toMatchObject({ response: null, error: { code: "cancelled", attempts: 2 } });
  });
});

test("a partial that is deleted during the run is written anew with all it held", async () => {
  const { open, outputPath, partial } = testRun(prompts("a", "b", "c"));
  const { index, output } = await open();
  const [first, ...others] = allMissing(index);
  await output.append([resultOf(first!)]);
  rmSync(partial);
  await output.append(others.map((row) => resultOf(row)));
  expect(linesOf(partial)).toHaveLength(4);
  rmSync(partial);
  await output.finish();
  expect(linesOf(outputPath)).toHaveLength(3);
});
