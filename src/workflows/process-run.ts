import { toErrorRecord } from "../shared/error-record.ts";
import { NonDeterminismError } from "../shared/errors.ts";
import { type LogFields, withLogContext } from "../shared/log-context.ts";
import { bindLogger } from "../shared/logger.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import { clockOf } from "../store/redis-clock.ts";
import {
  appendEntries,
  type RunJournalEntry,
  readRunJournal,
  runJournalLength,
} from "../store/run-journal.ts";
import { type RunRecord, readRun } from "../store/run-record.ts";
import { blockRun, type RunLock, unblockRun } from "../store/run-turn.ts";
import { traceIdOf } from "../telemetry/trace-context.ts";
import { Activation } from "./activation.ts";
import { scopeOf } from "./continue-as-new.ts";
import { cancelSteps, openSteps, tellRunEnd } from "./end-run.ts";
import { enter } from "./enter-run.ts";
import { isOfActivation } from "./entry-values.ts";
import { endedBefore, fail, finish, overtaken } from "./finish-run.ts";
import { createLiveRun, type LiveRun } from "./live-run.ts";
import { MAX_LOSSES } from "./local-work.ts";
import { deadlineError, workerLost } from "./run-errors.ts";
import type { RunEnd, RunInput } from "./run-input.ts";
import { traceRun } from "./run-trace.ts";
import { inputOf } from "./run-values.ts";
import { mayFitElsewhere, reasonToLeave } from "./version-routing.ts";
import type { AnyWorkflow } from "./workflow.ts";

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
  return withLogContext(aboutRun(run), () => traceRun(run, () => tryToGoOn(input, part)));
}

/** What lines of the log say of a run. */
function aboutRun({ id: runId, workflow, tenant, traceparent }: RunRecord): LogFields {
  return { runId, workflow, tenant, traceId: traceIdOf({ traceparent }) };
}

async function tryToGoOn(input: RunInput, part: Part): Promise<RunEnd | "continued"> {
  const { cache, runId } = input;
  const { run, lock } = part;
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
    if (run.status === "cancelled") {
      tellRunEnd(fleet, run);
      await cleanUpAfter(input, run, journal);
    }
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
  const activation = new Activation(input, lock, run, live);
  const isWhole = !hasLoss && live.execution.seen === seen;
  const journal = (isWhole ? news : undefined) ?? (await readRunJournal(store, runId, live.execution.seen));
  const end = await activation.run(journal);
  if (end === "suspended") {
    // Of what it has already the cache would not look at the size again.
    cache?.delete(runId);
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
  const { fleet, workflows, cache, runId, token } = input;
  const workflow = workflows.get(run.workflow);
  const hasBegun = journal.some((entry) => isOfActivation(entry) || entry.type === "lost");
  if (!workflow || workflow.version < run.version || !hasBegun) return;
  const live = cache?.get(runId) ?? (await revive(input, workflow, run));
  cache?.delete(runId);
  if ("reason" in live) return;
  const lock: RunLock = { store: fleet.store, runId, queue: run.queue, token, lockMs: fleet.settings.lockMs };
  const rest = journal.slice(live.execution.seen);
  await new Activation(input, lock, run, live).run(rest).catch((error: unknown) => {
    fleet.logger.warn({ err: error as Error, runId }, "a cancelled run cannot clean up");
  });
}

/** The function at its beginning, or what this worker lacks for it. */
async function revive(
  input: RunInput,
  workflow: AnyWorkflow,
  run: RunRecord,
): Promise<LiveRun | { reason: string }> {
  const { fleet, offerParts, functions, onActivity } = input;
  const { store, settings } = fleet;
  const stored = await inputOf(store, run);
  const checked = workflow.requires && workflow.input.safeParse(stored);
  const required = checked?.success ? (workflow.requires?.(checked.data) ?? []) : [];
  const lacking = required.find((reference) => !functions.has(reference));
  if (lacking) return { reason: `needs a worker with ${lacking.replace(":", " ")}` };
  const logger = bindLogger(input.fleet.logger, aboutRun(run));
  const live = createLiveRun({
    workflow,
    run,
    input: stored,
    settings,
    offerParts,
    functions,
    logger,
  });
  live.execution.onActivity = onActivity;
  return live;
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
