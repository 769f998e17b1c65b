import type { Queue } from "bullmq";
import { readJobStatus } from "../producers/job-status.ts";
import { MAX_RUNS_AT_WORK } from "../shared/catalog.ts";
import type { ErrorRecord } from "../shared/error-record.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { RunJournalEntry, StepKind } from "../store/run-journal.ts";
import { placeInLine } from "../store/run-limits.ts";
import type { RunRecord } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { readWorkerCards, type WorkerCard } from "../store/worker-card.ts";
import { sharedTraceId } from "../telemetry/tracing.ts";
import { scopeOf } from "./continue-as-new.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { signalAnswers } from "./signal-answers.ts";

/** The state of a run. */
export interface RunStatus {
  id: string;
  /** The workflow's name. */
  workflow: string;
  /** The version of the code that began it. */
  version: number;
  state: "running" | "succeeded" | "failed" | "cancelled";
  /**
   * The reasons why it does not go on, for people: signals, sleeps, local work under way, what workers lack, a pause of its queue, what
   * its model calls wait for before they begin. Empty when it goes on, or waits for its calls under way and child runs only.
   */
  waitsFor: string[];
  /** How often it went on as new (`ctx.continueAsNew`). */
  continued: number;
  /** The parts before the present one, the latest 100, the first one first. */
  chain: readonly { startedAt: Date; finishedAt: Date; version: number }[];
  /** The tags that it was started with. */
  tags: readonly string[];
  createdAt: Date;
  finishedAt: Date | undefined;
  deadlineAt: Date;
  /** The tokens of its ended steps and child runs, without those that a fork took over. */
  tokensUsed: { prompt: number; completion: number; total: number };
  /** The cost in USD, as far as the models are priced. */
  costUsd: number;
  /** The number of ended steps whose cost is unknown. */
  unpriced: number;
  /** The number of ended steps whose tokens, and so their cost, are partly a guess; absent for none. */
  estimated?: number;
  /** The small JSON that the function set by `ctx.metadata`. */
  metadata: Readonly<Record<string, unknown>>;
  /** The id of its trace, where traces are on. */
  traceId: string;
  error: ErrorRecord | undefined;
}

/** A step of a run. */
export interface RunStep {
  /** The step's scope and name, and from the second use of the name on its number: `left/draft#2`. */
  step: string;
  kind: StepKind;
  state: "running" | "succeeded" | "failed" | "cancelled";
  /** The model of a completion, the name of an activity, the workflow of a child, the signal of a wait. */
  subject: string | undefined;
  /** The id of a completion's or an activity's job, or of a child's run. */
  job: string | undefined;
  startedAt: Date | undefined;
  finishedAt: Date | undefined;
  tokensUsed: { prompt: number; completion: number; total: number; estimated?: true };
  /** The cost in USD; null when it is unknown. */
  costUsd: number | null;
  error: ErrorRecord | undefined;
}

export async function readRunStatus(fleet: FleetAccess, run: RunRecord): Promise<RunStatus> {
  const { id, workflow, version, status, createdAt, finishedAt, deadlineAt } = run;
  const { promptTokens: prompt, completionTokens: completion, costUsd, unpriced } = run;
  return {
    id,
    workflow,
    version,
    state: status,
    waitsFor: status === "running" ? await reasons(fleet, run) : [],
    continued: run.continued,
    chain: run.chain.map((link) => ({
      startedAt: new Date(link.startedAt),
      finishedAt: new Date(link.finishedAt),
      version: link.version,
    })),
    tags: run.tags,
    createdAt: new Date(createdAt),
    finishedAt: finishedAt === undefined ? undefined : new Date(finishedAt),
    deadlineAt: new Date(deadlineAt),
    tokensUsed: { prompt, completion, total: prompt + completion },
    costUsd,
    unpriced,
    ...(run.estimated > 0 && { estimated: run.estimated }),
    metadata: run.metadata ?? {},
    traceId: sharedTraceId({ id: `run:${id}`, carrier: run }),
    error: run.error,
  };
}

async function reasons(fleet: FleetAccess, run: RunRecord): Promise<string[]> {
  if (run.blocked) return [`${run.blocked.code}: ${run.blocked.message}`];
  const cards = await readWorkerCards(fleet.store);
  const lacking = run.activities.filter((name) =>
    cards.every(({ activities }) => !activities.includes(name)),
  );
  const own = await reasonsOf(fleet, run, cards);
  return [...own, ...lacking.map((name) => `a worker with activity "${name}"`)];
}

async function reasonsOf(
  fleet: FleetAccess,
  run: RunRecord,
  cards: readonly WorkerCard[],
): Promise<string[]> {
  const { store, queues } = fleet;
  if (!cards.some(({ workflows }) => workflows.includes(run.workflow))) {
    return [`a worker with workflow "${run.workflow}"`];
  }
  const limited = await limitReasons(store, run);
  if (limited.length > 0) return limited;
  const queue = queues.named(run.queue);
  const state = await queue.getJobState(run.id);
  if (state === "unknown")
    return ["its job, which somebody removed: start it again with the same runId and input"];
  if (state === "failed") return ["its job, which failed without a record: retry it"];
  if (state === "active") return run.local.map(({ step }) => `local work "${step}"`);
  if (state === "waiting" || state === "prioritized") return waitsForTurn(queue);
  // A suspended run is delayed too when it has a time to wake; only a worker that put it back left a reason.
  const { waitsFor } = ((await queue.getJob(run.id))?.progress ?? {}) as { waitsFor?: string };
  if (waitsFor) return [waitsFor];
  return [...run.waits, ...(await callReasons(fleet, run))];
}

/** Why its model calls do not begin, each reason once. */
async function callReasons(fleet: FleetAccess, { calls }: RunRecord): Promise<string[]> {
  const reasons = await Promise.all(
    calls.map(async (id) => {
      // One that has ended meanwhile keeps nothing.
      const status = await readJobStatus(fleet, { id }).catch(() => undefined);
      return status?.waitsFor ?? [];
    }),
  );
  return [...new Set(reasons.flat())];
}

/** Why the limits of its workflow do not let it begin. */
async function limitReasons(store: Store, run: RunRecord): Promise<string[]> {
  if (run.begunAt !== undefined) return [];
  const { startAt = 0, debounce } = run;
  if (startAt > clockOf(store).now()) {
    return [`its begin at ${new Date(startAt).toISOString()}, by ${debounce ? "debounce" : "throttle"}`];
  }
  const line = await placeInLine(store, run);
  if (!line) return [];
  const { limit, holders, before } = line;
  return [
    `a place of ${limit}: ${holders} ${holders === 1 ? "run has" : "runs have"} all, ${before} come before it`,
  ];
}

async function waitsForTurn(queue: Queue): Promise<string[]> {
  const [isPaused, active] = await Promise.all([queue.isPaused(), queue.getActiveCount()]);
  if (isPaused) return [`an operator's resume of the queue ${queue.name}`];
  return active >= MAX_RUNS_AT_WORK ? [`its turn: ${active} runs of its workflow are at work`] : [];
}

/** The steps of a journal, in the order in which they were asked for; local ones by their end, or as the run shows them. */
export function stepsOf(
  journal: readonly RunJournalEntry[],
  { local, ...run }: Pick<RunRecord, "local" | "continued">,
): RunStep[] {
  const steps = new Map<string, RunStep>();
  const answers = signalAnswers(journal);
  for (const entry of journal) {
    if (entry.type === "asked") {
      const { step, kind, subject, job, at } = entry;
      const startedAt = new Date(at);
      const answer = answers.get(step);
      // A signal may have come before its wait.
      const ended = answer && { state: "succeeded" as const, finishedAt: new Date(Math.max(at, answer.at)) };
      steps.set(step, { ...NEW_STEP, step, kind, subject, job, startedAt, ...ended });
    }
    // The end of a step of an earlier part says nothing of this one.
    if (entry.type !== "ended" || !entry.step.startsWith(scopeOf(run))) continue;
    const step = steps.get(entry.step) ?? { ...NEW_STEP, step: entry.step };
    if (step.finishedAt) continue;
    const { error, tokens, costUsd = null, at, tookMs } = entry;
    const state = error ? (error.code === "cancelled" ? "cancelled" : "failed") : "succeeded";
    steps.set(entry.step, {
      ...step,
      state,
      error,
      costUsd,
      finishedAt: new Date(at),
      ...(tookMs !== undefined && { startedAt: new Date(at - tookMs) }),
      ...(tokens && { tokensUsed: tokens }),
    });
  }
  for (const { step, startedAt } of local) {
    if (!steps.has(step)) steps.set(step, { ...NEW_STEP, step, startedAt: new Date(startedAt) });
  }
  return [...steps.values()];
}

/** Returns the steps as they stand now: the end of a run ends what it still had under way, and nobody writes that down. */
export function endedWith(
  { status, finishedAt }: Pick<RunRecord, "status" | "finishedAt">,
  steps: RunStep[],
): RunStep[] {
  if (status === "running" || finishedAt === undefined) return steps;
  const end = { state: "cancelled", finishedAt: new Date(finishedAt) } as const;
  return steps.map((step) => (step.state === "running" ? { ...step, ...end } : step));
}

const NEW_STEP: RunStep = {
  step: "",
  kind: "local",
  state: "running",
  subject: undefined,
  job: undefined,
  startedAt: undefined,
  finishedAt: undefined,
  tokensUsed: { prompt: 0, completion: 0, total: 0 },
  costUsd: null,
  error: undefined,
};
