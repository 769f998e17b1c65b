import { setTimeout as delay } from "node:timers/promises";
import OpenAI from "openai";
import type { GlueLLM } from "../../src/index.ts";
import { mixed } from "../support/chaos-workflows.ts";
import { startServer } from "../support/served-api.ts";
import { MODEL, type TestSite } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { add } from "../support/tools.ts";
import { waitFor } from "../support/wait-for.ts";
import type { Fleet } from "./fleet.ts";
import { tick } from "./module.ts";
import type { Recorded } from "./recorded.ts";

/** How much work of each kind a round has. */
export interface WorkSizes {
  rows: number;
  /** Of a batch that is bought as provider batches. */
  cheapRows: number;
  /** Of a batch of the API. */
  servedRows: number;
  /** Of jobs with two tool calls each. */
  toolJobs: number;
  runs: number;
  /** Between two ticks of a schedule, of which none may be missing (the latest 100 are known); 0: it has none. */
  everyMs: number;
}

/** Work that was begun. */
export interface Work {
  name: string;
  /** Resolves with what came of it. It is asked after the blows. */
  end: () => Promise<unknown>;
  right: unknown;
  /** Says where it stands. */
  stands?: () => Promise<unknown>;
}

interface Workplace {
  site: TestSite;
  client: GlueLLM;
  fleet: Fleet;
  recorded: Recorded;
}

/** On the busiest machine. */
const END_MS = 1_200_000;

/** Begins work of every kind. */
export async function beginWork(place: Workplace, sizes: WorkSizes): Promise<Work[]> {
  const { rows, cheapRows, servedRows, toolJobs, runs, everyMs } = sizes;
  const works = [
    rows > 0 ? [batch(place, "row", rows)] : [],
    cheapRows > 0 ? [batch(place, "cheap", cheapRows, "--by", "6h")] : [],
    servedRows > 0 ? [await servedBatch(place, servedRows)] : [],
    await Promise.all(Array.from({ length: runs }, (_, n) => run(place, n))),
    await Promise.all(Array.from({ length: toolJobs }, (_, n) => toolJob(place, n))),
    everyMs > 0 ? [await schedule(place, everyMs)] : [],
  ];
  return works.flat();
}

/** Says what of a work was lost, or is wrong. */
export async function checkWork({ name, end, right }: Work): Promise<{ lost?: string; wrong?: string }> {
  const result = await Promise.race([
    end().catch((error: Error) => error),
    delay(END_MS, new Error(`no end within ${END_MS} ms`), { ref: false }),
  ]);
  if (result instanceof Error) return { lost: `${name}: ${result.message}` };
  return JSON.stringify(result) === JSON.stringify(right)
    ? {}
    : { wrong: `${name}: ${JSON.stringify(result).slice(0, 300)}` };
}

function batch({ site, fleet }: Workplace, name: string, count: number, ...options: string[]): Work {
  const [input, output] = [`${name}.jsonl`, `${name}-out.jsonl`];
  site.write(
    input,
    site.rows(count, (n) => asked(`${name} ${n}`)),
  );
  const command = ["batch", "run", input, "-o", output, "-m", MODEL, "--workers", "0", ...options];
  const ended = fleet.restarted("batch", () => site.start(...command));
  // It is told at the end.
  ended.catch(() => {});
  const end = async () => {
    await ended;
    return site.read(output).map((line) => messageIn((line.response as { body: unknown }).body));
  };
  return { name: `the batch of ${name}s`, end, right: answers(name, count) };
}

async function servedBatch({ site, fleet }: Workplace, count: number): Promise<Work> {
  const { process, baseURL, apiKey } = await startServer(site);
  const { port } = new URL(baseURL);
  const openai = new OpenAI({ baseURL, apiKey, maxRetries: 100 });
  const questions = Array.from({ length: count }, (_, n) => asked(`served ${n}`));
  const { id } = await submitBatch(openai, questions);
  fleet.kept("api", () => site.start("api", "--port", port), { process });
  const end = async () => {
    const ended = await waitFor(
      "the served batch",
      async () => {
        const found = await openai.batches.retrieve(id).catch(() => undefined);
        return found?.status === "completed" ? found : undefined;
      },
      END_MS,
    );
    const text = await (await openai.files.content(ended.output_file_id ?? "")).text();
    const lines = text.trimEnd().split("\n");
    return lines.map((line) => messageIn(JSON.parse(line).response.body));
  };
  return { name: "the served batch", end, right: answers("served", count) };
}

async function toolJob({ client }: Workplace, n: number): Promise<Work> {
  const turns = [
    { toolCalls: [{ name: "add", arguments: { a: n, b: 1 } }] },
    { toolCalls: [{ name: "add", arguments: { a: n, b: 2 } }] },
    { reply: `sum ${n}` },
  ];
  const job = await client.enqueue(`tools ${n}\n#sim ${JSON.stringify({ turns })}`, { tools: [add] });
  const end = async () => (await job.result()).finalResponse;
  return { name: `tools ${n}`, end, right: `sum ${n}`, stands: () => job.status() };
}

async function run({ client, recorded }: Workplace, n: number): Promise<Work> {
  const started = await client.workflows.start(mixed, { id: `run ${n}` });
  await started.signal("go", "gone");
  const end = async () => {
    try {
      return await started.result();
    } finally {
      // Of a run that failed, too: what its steps asked is recorded all the same.
      await recorded.addRun(`run ${n}`, started.id, client.workflows);
    }
  };
  return {
    name: `run ${n}`,
    end,
    stands: () => started.status(),
    right: ["a", "b", "cd", "r", "xy", "raced", "gone", "f"],
  };
}

async function schedule({ site, client, recorded }: Workplace, everyMs: number): Promise<Work> {
  const { schedules, workflows } = client;
  const options = { overlap: "allow", catchUp: "all" } as const;
  const { id } = await schedules.create({ id: "clockwork", workflow: tick, input: {}, everyMs, ...options });
  const end = async () => {
    await schedules.pause(id);
    const isIdle = async () =>
      !(await recorded.isTicking()) && (await schedules.get(id)).running.length === 0;
    await waitFor("no tick's run under way", isIdle, END_MS);
    // One that was under way when the schedule was paused is told when it has begun its run.
    const asked = () =>
      site.simulator.journal.entries().map(({ lastUserText }) => lastUserText.split(" ")[0]);
    const areTold = async () => {
      const told = (await schedules.get(id)).ticks.map(({ id: runId }) => runId);
      return asked().every((name) => !name?.startsWith(`${id}.`) || told.includes(name));
    };
    await waitFor("all ticks to be told", areTold, END_MS);
    const { ticks } = await schedules.get(id);
    const results = await Promise.all(
      ticks.map(async ({ id: runId = "" }) => {
        const result = await workflows.open(runId).result();
        await recorded.addRun(runId, runId, workflows);
        return result;
      }),
    );
    const times = ticks.map(({ plannedAt }) => plannedAt.getTime()).sort((a, b) => a - b);
    return {
      gaps: times.slice(1).filter((time, n) => time - (times[n] ?? 0) !== everyMs),
      outcomes: [...new Set([...ticks.map(({ outcome }) => outcome), ...results])],
    };
  };
  return { name: "the schedule", end, right: { gaps: [], outcomes: ["started", "ticked"] } };
}

const asked = (name: string) => `${name}\n#sim {"reply": "answer of ${name}"}`;

const answers = (name: string, count: number) =>
  Array.from({ length: count }, (_, n) => `answer of ${name} ${n}`);

function messageIn(body: unknown): string {
  return (body as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
}
