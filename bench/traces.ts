/**
 * `npm run bench:traces`: what the parts of traces and logs take of this process' CPU, each by itself: places for spans while traces are off,
 * spans of which a tenth is kept, and a job's debug lines in a file. `bench:observability` has what they cost a worker.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configureTracing, setupLogging, withLogContext } from "../src/index.ts";
import { bindLogger } from "../src/shared/logger.ts";
import { inSpan } from "../src/telemetry/tracing.ts";

const REPEATS = 20_000;
const ROUNDS = 5;

/** Prints the median of the rounds. */
async function measure(what: string, work: (n: number) => unknown): Promise<void> {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const from = process.cpuUsage();
    for (let n = 0; n < REPEATS; n++) {
      await work(n);
      if (n % 5 === 0) await new Promise(setImmediate);
    }
    const { user, system } = process.cpuUsage(from);
    rounds.push((user + system) / REPEATS);
  }
  console.log(`${rounds.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)]?.toFixed(1)} µs  ${what}`);
}

const nothing = async () => {};
const spans = (count: number) => async () => {
  for (let n = 0; n < count; n++) await inSpan("bench", { attributes: () => ({ n }) }, nothing);
};
/** As a job has them: the first one stands above the others. */
const trace = (count: number) => () => inSpan("bench", { attributes: () => ({ count }) }, spans(count - 1));

await measure("nothing, which the others have in them", nothing);
await measure("five places for spans, traces switched off", spans(5));
const dir = mkdtempSync(join(tmpdir(), "gluellm-bench-"));
const logging = setupLogging({ level: "silent", dir });
await measure("a job's three debug lines in a file", (n) => {
  const about = {
    queue: "completions.openai.gpt-4o",
    jobId: `job-${n}`,
    attempt: 1,
    requestId: "req-1",
    tenant: "t",
  };
  const logger = bindLogger(logging.logger, about);
  withLogContext(about, () => {
    logger.debug({ model: "openai:gpt-4o" }, "job begins");
    logger.debug({ model: "openai:gpt-4o", latencyMs: 1, promptTokens: 1 }, "provider answered");
    logger.debug({ model: "openai:gpt-4o", latencyMs: 1, promptTokens: 1, costUsd: 0.1 }, "job finished");
  });
});
logging[Symbol.dispose]();
rmSync(dir, { recursive: true });
// Nobody is there: what is sent fails at once.
await configureTracing({ endpoint: "http://127.0.0.1:1", sampleRatio: 0.1 });
await measure("a trace of four spans, of which a tenth is kept", trace(4));
process.exit();
