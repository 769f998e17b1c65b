import type { LRUCache } from "lru-cache";
import { toErrorRecord } from "../shared/error-record.ts";
import { type GlueError, NonDeterminismError } from "../shared/errors.ts";
import { checkWith } from "../shared/schema-check.ts";
import { type Encoded, encode } from "../shared/serialize.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import type { Tool } from "../shared/tool.ts";
import { clockOf } from "../store/redis-clock.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import {
  appendEntries,
  endOfChild,
  notifyRun,
  type RunJournalEntry,
  readRunJournal,
  runJournalLength,
} from "../store/run-journal.ts";
import { inlineOrRunBlob, type RunRecord, readRun } from "../store/run-record.ts";
import { blockRun, finishRun, type RunLock, unblockRun } from "../store/run-turn.ts";
import { Activation } from "./activation.ts";
import { goOnAsNew, scopeOf } from "./continue-as-new.ts";
import { cancelSteps, openSteps } from "./end-run.ts";
import { enter, mayHaveLimits } from "./enter-run.ts";
import { isOfActivation } from "./entry-values.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { createLiveRun, type LiveRun, standingOf } from "./live-run.ts";
import { MAX_LOSSES } from "./local-work.ts";
import { asWorkflowError, deadlineError, workerLost } from "./run-errors.ts";
import { inputOf } from "./run-values.ts";
import { mayFitElsewhere, reasonToLeave } from "./version-routing.ts";
import type { AnyWorkflow } from "./workflow.ts";

export interface RunInput {
  fleet: FleetAccess;
  workflows: ReadonlyMap<string, AnyWorkflow>;
  offerTool: (tool: Tool) => void;
  functions: ReadonlyMap<string, StepFunction>;
  /** Suspended functions by run id, so that they need no replay; undefined: each activation replays. */
  cache: LRUCache<string, LiveRun> | undefined;
  runId: string;
  token: string;
  /** Workers that were lost while they had the run, since it was last taken. */
  lostWorkers: number;
  /** Forgets them: the journal has them. */
  onLossNoted: () => Promise<void>;
  /** Of this process. */
  workerId: string;
  /** The ids of the workers whose code did not fit it. */
  unfit: readonly string[];
  signal: AbortSignal;
  /** The function that is activated. */
  onLive: (live: LiveRun) => void;
  /** The function asked for something; this may be outside of its activations. */
  onActivity: () => void;
}

/** What becomes of the run's job. */
export type RunEnd =
  | { kind: "suspended" }
  | { kind: "fenced" }
  | { kind: "putBack"; reason: string; unfit?: readonly string[] }
  | { kind: "succeeded"; summary: object }
  | { kind: "failed"; reason: string };

/** Workers whose code did not fit that are remembered. */
const MAX_UNFIT = 1000;

/** The activations of a run in a row, as long as it goes on as new. Returns what its job does next. */
export async function processRun(input: RunInput): Promise<RunEnd> {
  let end = await processPart(input);
  while (end === "continued") end = await processPart({ ...input, lostWorkers: 0, unfit: [] });
  return end;
}

/** One activation of a run, from its record to what its job does next. */
async function processPart(input: RunInput): Promise<RunEnd | "continued"> {
  const { fleet, runId, token, cache } = input;
  const { store } = fleet;
  const seen = cache?.get(runId)?.execution.seen ?? 0;
  const [run, length, news] = await Promise.all([
    readRun(store, runId),
    // A journal that cannot be read is read again where that fails the run.
    seen > 0 ? runJournalLength(store, runId).catch(() => 0) : 0,
    readRunJournal(store, runId, seen).catch(() => undefined),
  ]);
  // A Redis that was killed has lost its last second: the function in memory knows more than there was.
  if (seen > length) cache?.delete(runId);
  // Another worker has let it go on as new.
  if (run && cache?.get(runId)?.execution.scope !== scopeOf(run)) cache?.delete(runId);
  const cached = cache?.get(runId);
  if (!run) return { kind: "failed", reason: "run_lost: its record is no longer in Redis" };
  const lock: RunLock = { store, runId, queue: run.queue, token, lockMs: fleet.settings.lockMs };
  const part: Part = { run, lock, live: cached, seen, news };
  try {
    return await goOn(input, part);
  } catch (error) {
    cache?.delete(runId);
    // Its record ends, not its job alone: who waits for it would wait for ever.
    if (isStoredLoss(error)) return fail(input, lock, run, part.live, error);
    if (!(error instanceof NonDeterminismError)) throw error;
    return block(input, lock, run, error);
  }
}

/** What is at hand of a run in one activation. */
interface Part {
  run: RunRecord;
  lock: RunLock;
  /** The function, once there is one in memory. */
  live: LiveRun | undefined;
  /** How much of the journal the function had seen when the `news` after it were read; undefined: they cannot be read. */
  seen: number;
  news: RunJournalEntry[] | undefined;
}

/** @throws GlueError `corrupt_data`, `blob_lost`; NonDeterminismError */
async function goOn(input: RunInput, part: Part): Promise<RunEnd | "continued"> {
  const { fleet, workflows, runId, cache } = input;
  const { store } = fleet;
  const { run, lock, live: cached, seen, news } = part;
  if (run.status !== "running") {
    // Who ended it may not have lived to end what it had under way.
    const journal = await readRunJournal(store, runId);
    await cancelSteps(fleet, openSteps(journal));
    if (run.status === "cancelled") await cleanUpAfter(input, run, journal);
    return endedBefore(input, run);
  }
  if (clockOf(store).now() >= run.deadlineAt) {
    const ended = await fail(input, lock, run, cached, deadlineError());
    await cancelSteps(fleet, openSteps(await readRunJournal(store, runId)));
    return ended;
  }
  const workflow = workflows.get(run.workflow);
  if (!workflow) return { kind: "putBack", reason: `needs a worker with workflow "${run.workflow}"` };
  const leave = await reasonToLeave(store, run, workflow);
  if (leave) return { kind: "putBack", reason: leave };
  const entry = await enter(lock, run, workflow);
  if (typeof entry === "object") return fail(input, lock, run, cached, entry.error);
  if (entry === "waits") return { kind: "suspended" };
  if (entry === "fenced") return { kind: "fenced" };
  // Its end has come first; or its input was the last one only now.
  if (entry === "over" || entry === "changed") return processRun(input);
  const live = cached ?? (await revive(input, workflow, run));
  if ("reason" in live) return { kind: "putBack", reason: live.reason };
  part.live = live;
  input.onLive(live);
  const hasLoss = input.lostWorkers > 0;
  const isPoison = hasLoss && (await noteLoss(input, lock));
  if (isPoison) return fail(input, lock, run, live, workerLost());
  const activation = new Activation(fleet, lock, run, live, input.signal);
  const isWhole = !hasLoss && live.execution.seen === seen;
  const journal = (isWhole ? news : undefined) ?? (await readRunJournal(store, runId, live.execution.seen));
  const end = await activation.run(journal);
  if (end === "suspended") {
    cache?.set(runId, live);
    if (run.blocked) await unblockRun(lock);
    return { kind: "suspended" };
  }
  cache?.delete(runId);
  if (end === "fenced") return { kind: "fenced" };
  return end === "over" ? overtaken(input, live) : finish(input, lock, run, live, workflow);
}

/**
 * Writes down that a worker was lost. Returns true when so many were that even the function must not be run again: had
 * they been lost in a step's work, that would have ended it.
 */
async function noteLoss({ onLossNoted }: RunInput, lock: RunLock): Promise<boolean> {
  const journal = await appendEntries(lock, 0, [{ type: "lost", at: Date.now() }]);
  if (typeof journal === "string") return false;
  await onLossNoted();
  const sinceProgress = journal.slice(journal.findLastIndex(isOfActivation) + 1);
  return sinceProgress.filter(({ type }) => type === "lost").length > MAX_LOSSES;
}

/** Lets the function of a run that was cancelled while it slept, or whose worker was lost, clean up; what fails is logged. */
async function cleanUpAfter(
  input: RunInput,
  run: RunRecord,
  journal: readonly RunJournalEntry[],
): Promise<void> {
  const { fleet, workflows, cache, runId, token, signal } = input;
  const workflow = workflows.get(run.workflow);
  const hasBegun = journal.some((entry) => isOfActivation(entry) || entry.type === "lost");
  if (!workflow || workflow.version < run.version || !hasBegun) return;
  const live = cache?.get(runId) ?? (await revive(input, workflow, run));
  cache?.delete(runId);
  if ("reason" in live) return;
  const lock: RunLock = { store: fleet.store, runId, queue: run.queue, token, lockMs: fleet.settings.lockMs };
  const rest = journal.slice(live.execution.seen);
  await new Activation(fleet, lock, run, live, signal).run(rest).catch((error: unknown) => {
    fleet.logger.warn({ err: error as Error, runId }, "a cancelled run cannot clean up");
  });
}

/** The function at its beginning, or what this worker lacks for it. */
async function revive(
  input: RunInput,
  workflow: AnyWorkflow,
  run: RunRecord,
): Promise<LiveRun | { reason: string }> {
  const { fleet, offerTool, functions, onActivity } = input;
  const { store, settings } = fleet;
  const stored = await inputOf(store, run);
  const checked = workflow.requires && workflow.input.safeParse(stored);
  const required = checked?.success ? (workflow.requires?.(checked.data) ?? []) : [];
  const lacking = required.find((reference) => !functions.has(reference));
  if (lacking) return { reason: `needs a worker with ${lacking.replace(":", " ")}` };
  const logger = input.fleet.logger.child({ runId: run.id, workflow: run.workflow });
  const live = createLiveRun({
    workflow,
    run,
    input: stored,
    settings,
    offerTool,
    functions,
    logger,
  });
  live.execution.onActivity = onActivity;
  return live;
}

async function finish(
  input: RunInput,
  lock: RunLock,
  run: RunRecord,
  live: LiveRun,
  workflow: AnyWorkflow,
): Promise<RunEnd | "continued"> {
  const { outcome } = live.execution;
  if (outcome && "next" in outcome) {
    const part = { execution: live.execution, input: outcome.next, version: workflow.version };
    const end = await goOnAsNew(input.fleet, lock, run, part);
    if (end === "continued") return end;
    return end === "fenced" ? { kind: "fenced" } : overtaken(input, live);
  }
  if (!outcome || "error" in outcome) return fail(input, lock, run, live, asWorkflowError(outcome?.error));
  const { store, logger } = input.fleet;
  let output: Encoded;
  const what = `the output of workflow "${run.workflow}"`;
  try {
    output = encode(checkWith(workflow.output, outcome.value, what), what);
  } catch (error) {
    return fail(input, lock, run, live, asWorkflowError(error));
  }
  // A parent reads it up to its own deadline.
  const parent = run.parentRunId === undefined ? undefined : await readRun(store, run.parentRunId);
  const stored = await untilTaken(logger, () =>
    inlineOrRunBlob(store, run.id, output.json ?? null, parent?.deadlineAt),
  );
  const typed = output.isTyped ? ["outputTyped", "true"] : [];
  const fields = ["output", JSON.stringify(stored), ...typed];
  return end(input, lock, live, { ...run, status: "succeeded" }, fields);
}

function fail(
  input: RunInput,
  lock: RunLock,
  run: RunRecord,
  live: LiveRun | undefined,
  error: GlueError,
): Promise<RunEnd> {
  input.fleet.logger.warn({ runId: run.id, workflow: run.workflow, fault: error.code }, "run failed");
  const record = toErrorRecord(error);
  return end(input, lock, live, { ...run, status: "failed", error: record }, [
    "error",
    JSON.stringify(record),
  ]);
}

/** @param ended the run as it is to stand, whose status is written with the other fields */
async function end(
  input: RunInput,
  lock: RunLock,
  live: LiveRun | undefined,
  ended: RunRecord,
  fields: readonly string[],
): Promise<RunEnd> {
  input.cache?.delete(lock.runId);
  const standing = [...(live ? standingOf(live, ended) : []), "finishedAt", String(Date.now())];
  const hasLimits = mayHaveLimits(ended, input.workflows.get(ended.workflow));
  const outcome = await finishRun(lock, ["status", ended.status, ...fields, ...standing], hasLimits);
  if (outcome === "fenced") return { kind: "fenced" };
  // A parent is told what is written down.
  if (outcome === "over" || ended.parentRunId !== undefined) return overtaken(input, live);
  await endPending(input, live);
  return endedBefore(input, { ...ended, ...live?.execution.totals });
}

/** What an ended run still had under way ends too. */
async function endPending({ fleet }: RunInput, live: LiveRun | undefined): Promise<void> {
  const pending = live?.execution.pending() ?? [];
  await cancelSteps(
    fleet,
    pending.flatMap(({ asked }) => asked ?? []),
  );
}

/** The run is over, as its record says. */
async function overtaken(input: RunInput, live: LiveRun | undefined): Promise<RunEnd> {
  await endPending(input, live);
  const run = await readRun(input.fleet.store, input.runId);
  return run ? endedBefore(input, run) : { kind: "fenced" };
}

/** Tells its parent, which may have been told before, and its job. */
async function endedBefore({ fleet, cache, runId }: RunInput, run: RunRecord): Promise<RunEnd> {
  cache?.delete(runId);
  const { parentRunId, error, costUsd, promptTokens: prompt, completionTokens: completion } = run;
  if (parentRunId) await notifyRun(fleet.store, parentRunId, endOfChild(run));
  const tokens = { prompt, completion, total: prompt + completion };
  const summary = { status: run.status, tokens, costUsd };
  if (run.status === "succeeded") return { kind: "succeeded", summary };
  return { kind: "failed", reason: `${error?.code ?? run.status}: ${error?.message ?? ""}` };
}

/** The run stays whole for code that fits; who waits for its result is told. */
async function block(
  { fleet: { store, logger }, workflows, runId, workerId, unfit: earlier }: RunInput,
  lock: RunLock,
  run: RunRecord,
  error: NonDeterminismError,
): Promise<RunEnd> {
  const { code, message } = error;
  const reason = `${code}: ${message} (begun by version ${run.version}, current ${workflows.get(run.workflow)?.version})`;
  const unfit = [...new Set([...earlier, workerId])].slice(-MAX_UNFIT);
  if (await mayFitElsewhere(store, run, unfit)) return { kind: "putBack", reason, unfit };
  if (run.blocked?.message !== message) {
    logger.error({ runId, workflow: run.workflow, fault: message }, "the code does not fit the run");
  }
  await blockRun(lock, JSON.stringify(toErrorRecord(error)), unfit);
  return { kind: "putBack", reason, unfit };
}
