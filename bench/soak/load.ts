/**
 * The load of a soak: every kind of work at its own pace, until SIGTERM. Arguments: the file to which it writes a line of figures every few
 * seconds. It ends with 1 when something came out otherwise than expected.
 */
import { randomUUID } from "node:crypto";
import { appendFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import OpenAI, { toFile } from "openai";
import { z } from "zod";
import { GlueLLM, JobCancelledError, LLMError } from "../../src/index.ts";
import { percentile } from "../percentile.ts";
import { double, leaf, tick, tree } from "./module.ts";

/** What the load tells of the time since its last line. */
export interface LoadFigures {
  at: number;
  /** Pieces of work that ended, by kind. */
  ended: Record<string, number>;
  /** Of `complete`. */
  p50Ms: number;
  p95Ms: number;
  failures: string[];
}

const [figures = "", folder = "."] = process.argv.slice(2);
const EVERY_MS = 5000;
/** Of each kind at a time; what comes then waits for the next turn. */
const AT_A_TIME = 5;
const BATCH_ROWS = 100;
const SERVED_ROWS = 30;
/** A name of a model is used for so long: fleets see models come and go. */
const MODEL_LIFE_MS = 120_000;
const LARGE = "word ".repeat(6000);

const glue = new GlueLLM({ mode: "fleet", model: "simulator:soak", workflows: [leaf, tree, tick] });
const tenant = new GlueLLM({ mode: "fleet", model: "simulator:soak", tenant: "acme" });
const api = new OpenAI({ maxRetries: 0 });
const model = "simulator:soak";

/** The milliseconds between two of a kind, and what it is. */
const kinds: Record<string, [everyMs: number, work: (n: number) => Promise<unknown>]> = {
  complete: [500, (n) => timed(() => glue.complete(`sum ${n}`))],
  enqueue: [2000, async (n) => (await glue.enqueue(`later ${n}`, { idempotencyKey: randomUUID() })).result()],
  stream: [4000, async (n) => Array.fromAsync(glue.stream(`stream ${n}`))],
  structured: [4000, (n) => glue.structuredComplete(`Ada, ${n}`, { schema: z.object({ age: z.int() }) })],
  tools: [
    2000,
    (n) => glue.complete(`twice\n#sim {"turns": [${toolCall(n)}, {"reply": "ok"}]}`, { tools: [double] }),
  ],
  conversation: [8000, talk],
  cached: [2000, (n) => glue.complete(`cached ${n >> 1}`, { temperature: 0 })],
  large: [4000, (n) => glue.complete(`${n} ${LARGE}`)],
  limited: [4000, (n) => glue.complete(`cheap ${n}`, { model: "simulator:priced", maxCostUsd: 1 })],
  tenant: [4000, (n) => tenant.complete(`of a tenant ${n}`)],
  passing: [
    2000,
    (n) =>
      glue.complete(`passing ${n}`, { model: `simulator:soak-${Math.floor(Date.now() / MODEL_LIFE_MS)}` }),
  ],
  refused: [4000, (n) => failing(LLMError, glue.complete(`refused ${n}\n#sim {"error": "400"}`))],
  retried: [4000, (n) => glue.complete(`retried ${n}\n#sim {"error": "500", "errorTimes": 1}`)],
  cancelled: [4000, cancel],
  workflow: [4000, run],
  batch: [60_000, batch],
  "api completion": [
    1000,
    (n) => api.chat.completions.create({ model, messages: [{ role: "user", content: `api ${n}` }] }),
  ],
  "api response": [4000, (n) => api.responses.create({ model, input: `response ${n}` })],
  "api batch": [120_000, servedBatch],
};

let isOver = false;
let waits: number[] = [];
let ended: Record<string, number> = {};
let failures: string[] = [];
let failed = 0;

process.once("SIGTERM", () => (isOver = true));
await glue.schedules.create({ id: "soak-runs", workflow: tick, input: {}, everyMs: 2000, overlap: "allow" });
await glue.schedules.create({ id: "soak-calls", completion: { message: "tick" }, everyMs: 3000 });
const teller = setInterval(tell, EVERY_MS);
await Promise.all(Object.entries(kinds).map(([name, [everyMs, work]]) => repeat(name, everyMs, work)));
for (const { id } of await glue.schedules.list()) await glue.schedules.delete(id);
clearInterval(teller);
tell();
await Promise.all([glue.close(), tenant.close()]);
process.exitCode = failed > 0 ? 1 : 0;

async function repeat(name: string, everyMs: number, work: (n: number) => Promise<unknown>): Promise<void> {
  const open = new Set<Promise<void>>();
  for (let n = 0; !isOver; n++) {
    if (open.size < AT_A_TIME) {
      const one = work(n)
        .then(() => {
          ended[name] = (ended[name] ?? 0) + 1;
        })
        .catch((error: unknown) => {
          failed++;
          failures.push(`${name}: ${error instanceof Error ? error.message : error}`.slice(0, 300));
        })
        .finally(() => open.delete(one));
      open.add(one);
    }
    await delay(everyMs);
  }
  await Promise.all(open);
}

function tell(): void {
  const line: LoadFigures = {
    ...{ at: Date.now(), ended, failures },
    ...{ p50Ms: percentile(waits, 50), p95Ms: percentile(waits, 95) },
  };
  [waits, ended, failures] = [[], {}, []];
  appendFileSync(figures, `${JSON.stringify(line)}\n`);
}

async function timed(work: () => Promise<unknown>): Promise<void> {
  const startedAt = performance.now();
  await work();
  waits.push(performance.now() - startedAt);
}

async function failing(
  kind: typeof LLMError | typeof JobCancelledError,
  work: Promise<unknown>,
): Promise<void> {
  const error = await work.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof kind)) throw error;
}

function toolCall(n: number): string {
  return JSON.stringify({ toolCalls: [{ name: "double", arguments: { n } }] });
}

async function talk(n: number): Promise<void> {
  const conversation = glue.conversation();
  for (const turn of [1, 2, 3]) await conversation.complete(`turn ${turn} of ${n}`);
}

async function cancel(n: number): Promise<void> {
  const handle = await glue.enqueue(`never ${n}`, { delayMs: 60_000 });
  const result = failing(JobCancelledError, handle.result());
  await handle.cancel();
  await result;
}

async function run(n: number): Promise<void> {
  const handle = await glue.workflows.start(tree, { n });
  await handle.signal("go", {});
  if ((await handle.result()) !== n + 1) throw new Error("a run has another run's output");
}

async function batch(n: number): Promise<void> {
  const inputPath = join(folder, `batch-${n}.jsonl`);
  const outputPath = join(folder, `batch-${n}.out.jsonl`);
  const rows = Array.from({ length: BATCH_ROWS }, (_, row) =>
    JSON.stringify({ custom_id: `${row}`, prompt: `${n} ${row}` }),
  );
  writeFileSync(inputPath, `${rows.join("\n")}\n`);
  const report = await (await glue.batches.run({ inputPath, outputPath })).report();
  if (report.succeeded !== BATCH_ROWS) throw new Error(`a batch brought ${report.succeeded} rows`);
  for (const path of [inputPath, outputPath]) rmSync(path);
}

async function servedBatch(n: number): Promise<void> {
  const lines = Array.from({ length: SERVED_ROWS }, (_, row) =>
    JSON.stringify({
      ...{ custom_id: `${row}`, method: "POST", url: "/v1/chat/completions" },
      body: { model, messages: [{ role: "user", content: `served ${n} ${row}` }] },
    }),
  );
  const file = await api.files.create({
    file: await toFile(Buffer.from(lines.join("\n")), "in.jsonl"),
    purpose: "batch",
  });
  const { id } = await api.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  for (;;) {
    const { status, output_file_id: output } = await api.batches.retrieve(id);
    if (status === "completed") {
      for (const one of [file.id, output]) if (one) await api.files.delete(one);
      return;
    }
    if (["failed", "expired", "cancelled"].includes(status))
      throw new Error(`a batch of the API is ${status}`);
    await delay(1000);
  }
}
