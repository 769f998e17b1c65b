import { statSync } from "node:fs";
import { BatchOutput } from "../../src/batch/batch-output.ts";
import { DiskIndex } from "../../src/batch/disk-index.ts";
import { InputFile } from "../../src/batch/input-file.ts";
import { scanInput } from "../../src/batch/scan-input.ts";
import type { GlueError } from "../../src/shared/errors.ts";
import { modelRef } from "../../src/shared/model-name.ts";

/** The other process of the batch file tests: `node batch-files-child.ts hold|fill|measure IN OUT`. */
const [mode, inputPath = "", outputPath = ""] = process.argv.slice(2);
const KEY = "simulator:demo";
const index = DiskIndex.create(outputPath);
const input = await InputFile.open({ inputPath });
await scanInput({ input, index, resolveModel: () => modelRef("simulator", "demo") });
await input.close();
const output = await BatchOutput.open({ outputPath, index });

const resultOf = ({ id, line }: { id: string; line: number }, answer = `answer ${line}`) => {
  const body = {
    choices: [{ message: { content: answer } }],
    usage: { prompt_tokens: 1, completion_tokens: 1 },
  };
  const response = { status_code: 200, request_id: "r", body };
  const text = JSON.stringify({ id: `batch_req_${id}`, custom_id: `line-${line}`, response, error: null });
  return { id, line: text, failed: false };
};

/** Appends one row, then holds the output until it is killed. */
async function hold() {
  await output.append([resultOf(index.nextMissing(KEY, 0, 1)[0]!)]);
  console.log("ready");
  setInterval(() => {}, 60_000);
}

/** Runs into the limit on file sizes, then goes on with what fits. */
async function fill() {
  const [first, ...others] = index.nextMissing(KEY, 0, 10);
  await output.append([resultOf(first!)]);
  const size = () => statSync(`${outputPath}.partial`).size;
  const before = size();
  const tooMuch = others.map((row) => resultOf(row, "x".repeat(1_500_000)));
  const error: GlueError = await output.append(tooMuch).then(
    () => undefined,
    (reason) => reason,
  );
  const sameSize = size() === before;
  const missingAfterFailure = index.counts().missing;
  await output.append([resultOf(others[0]!)]);
  const missingAfterNext = index.counts().missing;
  await output.close();
  const { name, code, message } = error;
  console.log(
    JSON.stringify({ error: { name, code, message }, sameSize, missingAfterFailure, missingAfterNext }),
  );
}

/** A whole run; prints its peak memory and the most that was live at a time. Needs --expose-gc. */
async function measure() {
  let liveBytes = 0;
  const sample = () => {
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    liveBytes = Math.max(liveBytes, heapUsed + external);
  };
  sample();
  for (let after = 0; ; ) {
    const rows = index.nextMissing(KEY, after, 500);
    if (rows.length === 0) break;
    after = rows.at(-1)?.line ?? after;
    await output.append(rows.reverse().map((row) => resultOf(row)));
    if (after % 10_000 === 0) sample();
  }
  await output.finish();
  const { succeeded } = index.counts();
  console.log(JSON.stringify({ succeeded, liveBytes, peakKiB: process.resourceUsage().maxRSS }));
}

await { hold, fill, measure }[mode as "hold" | "fill" | "measure"]();
