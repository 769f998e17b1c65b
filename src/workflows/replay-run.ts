import { setImmediate as nextTurn } from "node:timers/promises";
import { GlueError, NonDeterminismError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { within } from "../shared/within.ts";
import { type RunJournalEntry, readRunJournal } from "../store/run-journal.ts";
import { type RunRecord, readRun } from "../store/run-record.ts";
import { type RunSnapshot, snapshotStore } from "../store/run-snapshot.ts";
import { EntryValues, isOfActivation } from "./entry-values.ts";
import { createLiveRun, type LiveRun } from "./live-run.ts";
import { inputOf } from "./run-values.ts";
import type { AnyWorkflow } from "./workflow.ts";

/** Whether code fits what a run has recorded. */
export type Replay =
  | { kind: "fits" }
  /** The step at which the code goes another way, if it is one, and in which way. */
  | { kind: "differs"; step: string | undefined; message: string }
  /** The code would not get this run, or Redis no longer has all of it. */
  | { kind: "skipped"; reason: string };

export interface ReplayOptions {
  settings: Settings;
  logger: Logger;
}

/** How long the function may take to end once it has all that its run had recorded. */
const END_MS = 2000;
/** Ends of a run that its function had no part in. */
const ENDS_FROM_OUTSIDE: ReadonlySet<string> = new Set(["deadline_exceeded", "worker_lost", "corrupt_data"]);

/**
 * Gives a run's journal to the present function, and says whether it asks for the same. Nothing is done: what the function
 * asks for is neither sent nor run, and nothing is written.
 */
export async function replayRun(
  snapshot: RunSnapshot,
  workflow: AnyWorkflow,
  options: ReplayOptions,
): Promise<Replay> {
  const store = snapshotStore(snapshot);
  const run = await readRun(store, snapshot.id);
  if (!run) return { kind: "skipped", reason: "it has no record" };
  if (run.version > workflow.version) {
    return {
      kind: "skipped",
      reason: `it was begun by version ${run.version}, and the module has ${workflow.version}`,
    };
  }
  const journal = await readRunJournal(store, snapshot.id);
  const lost = lostAnswer(journal, snapshot);
  if (lost !== undefined) {
    return { kind: "skipped", reason: `the answer of step "${lost}" is no longer in Redis` };
  }
  const input = await inputOf(store, run);
  const { defaultModel } = run;
  const live = createLiveRun({
    ...options,
    ...{ workflow, run, input, defaultModel, functions: new AnyFunctions(), offerParts: () => {} },
  });
  try {
    await deliver(live, new EntryValues(store, live.execution), beforeCancellation(journal));
    const difference = await atEnd(live, run, workflow);
    return difference ? { kind: "differs", ...difference } : { kind: "fits" };
  } catch (error) {
    if (error instanceof GlueError && error.code === "blob_lost") {
      return { kind: "skipped", reason: "a large value of it is no longer in Redis" };
    }
    if (!(error instanceof NonDeterminismError)) throw error;
    return { kind: "differs", step: stepOf(error), message: error.message };
  }
}

/** As an activation does that finds all of it: entry by entry, until the function has ended. */
async function deliver(
  { execution }: LiveRun,
  values: EntryValues,
  journal: readonly RunJournalEntry[],
): Promise<void> {
  for (const entry of journal) {
    if (entry.type === "asked" && entry.job) values.expect(entry.step, entry.job);
    if (entry.type === "patch") execution.patches.set(entry.id, true);
  }
  const replayUntil = journal.findLastIndex(isOfActivation);
  execution.isReplaying = replayUntil >= 0;
  execution.start();
  await nextTurn();
  for (const [n, entry] of journal.entries()) {
    execution.isReplaying = n < replayUntil;
    await execution.deliver(entry, await values.of(journal, n));
    if (execution.outcome) return execution.checkEnd(journal.slice(n + 1));
  }
  execution.isReplaying = false;
}

/** What a function that was cancelled did afterwards is not recorded, and would have effects. */
function beforeCancellation(journal: readonly RunJournalEntry[]): readonly RunJournalEntry[] {
  const place = journal.findIndex(({ type }) => type === "cancelled");
  return place < 0 ? journal : journal.slice(0, place);
}

/** Whether a run that has ended would have ended with this code too, and how not. */
async function atEnd(
  { execution }: LiveRun,
  { status, error }: RunRecord,
  workflow: AnyWorkflow,
): Promise<{ step: string | undefined; message: string } | undefined> {
  const isFromOutside = status === "failed" && ENDS_FROM_OUTSIDE.has(error?.code ?? "");
  if (status === "running" || status === "cancelled" || isFromOutside) return undefined;
  if (!execution.outcome && execution.pending().length === 0) await within(END_MS, execution.ended);
  const { outcome } = execution;
  if (!outcome) {
    const [next] = execution.pending().filter(({ asked }) => !asked);
    const asks = next ? `asks for ${next.kind} "${next.id}"` : "waits for something else";
    return { step: next?.id, message: `recorded the run's end (${status}), current code ${asks}` };
  }
  if (status !== "succeeded") return undefined;
  if ("next" in outcome) {
    return { step: undefined, message: "recorded the run's success, current code goes on as new" };
  }
  const fault = "error" in outcome ? outcome.error : outputFault(workflow, outcome.value);
  if (fault === undefined) return undefined;
  const text = fault instanceof Error ? `${fault.name}: ${fault.message}` : String(fault);
  return { step: stepOf(fault), message: `recorded the run's success, current code fails: ${text}` };
}

function outputFault(workflow: AnyWorkflow, value: unknown): unknown {
  try {
    checkWith(workflow.output, value, `the output of workflow "${workflow.name}"`);
    return undefined;
  } catch (error) {
    return error;
  }
}

function stepOf(error: unknown): string | undefined {
  const step = error instanceof GlueError ? error.context?.step : undefined;
  return typeof step === "string" ? step : undefined;
}

/** The step of an answer that is not kept any more. */
function lostAnswer(journal: readonly RunJournalEntry[], { results }: RunSnapshot): string | undefined {
  const jobs = new Map(
    journal.flatMap((entry) =>
      entry.type === "asked" && entry.kind === "completion" && entry.job ? [[entry.step, entry.job]] : [],
    ),
  );
  const lost = journal.find((entry) => {
    if (entry.type !== "ended" || entry.error || entry.blob || "value" in entry) return false;
    const job = jobs.get(entry.step);
    return job !== undefined && results[job] === undefined;
  });
  return lost?.type === "ended" ? lost.step : undefined;
}

/** Retrievers and evaluators are recorded as any work: none is called, so that each may be thought of as being there. */
class AnyFunctions extends Map<string, StepFunction> {
  override has(): boolean {
    return true;
  }

  override get(reference: string): StepFunction {
    return { kind: "retriever", name: reference, run: () => undefined };
  }
}
