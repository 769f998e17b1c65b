import type { Job } from "bullmq";
import { counted } from "../src/shared/counted.ts";
import { usd } from "../src/shared/usd.ts";
import { openRunFields } from "../src/store/run-fields.ts";
import type { Store } from "../src/store/store.ts";
import { readWorkerCards } from "../src/store/worker-card.ts";

/** Of a run's record; the run's input and output are not shown. */
const FIELDS = [
  "workflow",
  "version",
  "status",
  "blocked",
  "promptTokens",
  "completionTokens",
  "costUsd",
  "unpriced",
  "deadlineAt",
  "error",
] as const;
type RunFields = Record<(typeof FIELDS)[number], string | null>;

/** Jobs of workflow runs with what their records say, for the board alone: the jobs in Redis stay as they are. */
export async function showRuns(store: Store, jobs: readonly Job[]): Promise<void> {
  if (jobs.length === 0) return;
  const [records, cards] = await Promise.all([
    Promise.all(jobs.map((job) => store.redis.hmget(store.keys.workflow(job.id ?? ""), ...FIELDS))),
    readWorkerCards(store),
  ]);
  const offered = new Set(cards.flatMap(({ workflows }) => workflows));
  for (const [n, job] of jobs.entries()) {
    const run = await openRun(store, job.id ?? "", records[n] ?? []);
    // Its record is gone before the job is.
    if (run.status === null) continue;
    const toJson = job.toJSON.bind(job);
    const data = runData(job, run, offered);
    job.toJSON = () => ({ ...toJson(), data });
  }
}

/** Why it failed is encrypted where all is; who cannot decrypt it sees the code alone. */
async function openRun(store: Store, id: string, values: readonly (string | null)[]): Promise<RunFields> {
  const run = Object.fromEntries(FIELDS.map((field, i) => [field, values[i] ?? null])) as RunFields;
  const known = Object.entries(run).filter((entry): entry is [string, string] => entry[1] !== null);
  const opened = await openRunFields(store, id, Object.fromEntries(known)).catch(() => ({}));
  return { ...run, ...opened };
}

function runData(job: Job, run: RunFields, offered: ReadonlySet<string>) {
  const waitsFor = run.status === "running" ? reasonOf(job, run, offered) : undefined;
  return {
    kind: "workflow",
    workflow: run.workflow,
    run: job.id,
    state: run.status,
    ...(waitsFor && { waitsFor }),
    ...(run.error && { error: errorText(run.error) }),
    tokens: Number(run.promptTokens ?? 0) + Number(run.completionTokens ?? 0),
    cost: costOf(run),
    version: Number(run.version),
    deadline: new Date(Number(run.deadlineAt)).toISOString(),
  };
}

/** Calls of models without a price cost nobody knows how much. */
function costOf({ costUsd, unpriced }: RunFields): string {
  const known = Number(costUsd ?? 0);
  if (Number(unpriced ?? 0) === 0) return usd(known);
  return known === 0 ? "unknown" : `${usd(known)} and ${counted(Number(unpriced), "call")} of unknown cost`;
}

function reasonOf(
  job: Job,
  { blocked, workflow }: RunFields,
  offered: ReadonlySet<string>,
): string | undefined {
  if (blocked) return errorText(blocked);
  if (!offered.has(workflow ?? "")) return `a worker with workflow "${workflow}"`;
  // Written by the worker that put it back.
  return (job.progress as { waitsFor?: string } | null)?.waitsFor;
}

function errorText(json: string): string {
  const { code, message = "(encrypted)" } = JSON.parse(json) as { code: string; message?: string };
  return `${code}: ${message}`;
}
