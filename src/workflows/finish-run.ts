import { toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { checkWith } from "../shared/schema-check.ts";
import { type Encoded, encode } from "../shared/serialize.ts";
import { endCount } from "../store/error-counts.ts";
import { toldText } from "../store/past-contents.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { notifyRun } from "../store/run-journal.ts";
import { inlineOrRunBlob, type RunRecord, readRun } from "../store/run-record.ts";
import { finishRun, type RunLock } from "../store/run-turn.ts";
import { endOfChild } from "../store/step-end.ts";
import { reportError } from "../telemetry/error-reports.ts";
import { traceIdOf } from "../telemetry/trace-context.ts";
import { goOnAsNew } from "./continue-as-new.ts";
import { cancelSteps, failureOf, runPlace, tellRunEnd } from "./end-run.ts";
import { mayHaveLimits } from "./enter-run.ts";
import { type LiveRun, standingOf } from "./live-run.ts";
import { asWorkflowError } from "./run-errors.ts";
import type { RunEnd, RunInput } from "./run-input.ts";
import type { AnyWorkflow } from "./workflow.ts";

/* How the worker that has a run ends it, and who is told. */

/** Ends the present part of a run as its function has ended. */
export async function finish(
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
  logger.debug("run succeeded");
  const fields = ["output", JSON.stringify(stored), ...typed];
  return end(input, lock, live, { ...run, status: "succeeded" }, fields);
}

/** Ends a run with an error. */
export function fail(
  input: RunInput,
  lock: RunLock,
  run: RunRecord,
  live: LiveRun | undefined,
  error: GlueError,
): Promise<RunEnd> {
  input.fleet.logger.warn({ runId: run.id, workflow: run.workflow, fault: error.code }, "run failed");
  const about = { queue: run.queue, runId: run.id, workflow: run.workflow, tenant: run.tenant };
  reportError(
    error,
    { kind: "run", code: error.code, ...about, traceId: traceIdOf(run) },
    input.fleet.logger,
  );
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
  const counted = endCount(lock.store, runPlace(ended), input.fleet.settings.retention, failureOf(ended));
  const outcome = await finishRun(lock, ["status", ended.status, ...fields, ...standing], hasLimits, counted);
  if (outcome === "fenced") return { kind: "fenced" };
  if (outcome !== "over") tellRunEnd(input.fleet, ended);
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
export async function overtaken(input: RunInput, live: LiveRun | undefined): Promise<RunEnd> {
  await endPending(input, live);
  const run = await readRun(input.fleet.store, input.runId);
  if (run?.status === "cancelled") tellRunEnd(input.fleet, run);
  return run ? endedBefore(input, run) : { kind: "fenced" };
}

/** Tells its parent, which may have been told before, and its job. */
export async function endedBefore({ fleet, cache, runId }: RunInput, run: RunRecord): Promise<RunEnd> {
  cache?.delete(runId);
  const { parentRunId, error, costUsd, promptTokens: prompt, completionTokens: completion } = run;
  if (parentRunId) await notifyRun(fleet.store, parentRunId, endOfChild(run));
  const tokens = { prompt, completion, total: prompt + completion };
  const summary = { status: run.status, tokens, costUsd };
  if (run.status === "succeeded") return { kind: "succeeded", summary };
  return {
    kind: "failed",
    reason: `${error?.code ?? run.status}: ${toldText(fleet.store, error?.message ?? "")}`,
  };
}
