import { randomUUID } from "node:crypto";
import { GlueError, InputError, JobLostError } from "../shared/errors.ts";
import type { Owner } from "../shared/tenant.ts";
import type { ListedRun, RunFilter } from "../store/run-list.ts";
import type { RunStatus } from "../workflows/run-status.ts";
import type { WorkflowRuns } from "../workflows/workflow-runs.ts";
import { checkSelection, type RunSelection } from "./run-selection.ts";

/** Options of a change of many runs. */
export interface BulkOptions {
  /** Whether runs are only counted and nothing is changed; default false. */
  dryRun?: boolean;
  /** The most runs that are changed at a time, from 1 to 1,000; default 20. */
  concurrency?: number;
  /** A signal that ends it early: the report tells what was done by then. Default: none. */
  signal?: AbortSignal | undefined;
}

/** Options of a signal to many runs. */
export interface BulkSignalOptions extends BulkOptions {
  /**
   * Given again it goes on where a call was broken off: no run gets the signal twice. Default: a new one, which the report
   * tells.
   */
  dedupeId?: string | undefined;
}

/** What became of a change of many runs. */
export interface BulkReport {
  /** The runs found. */
  matched: number;
  /** Those that were changed. */
  changed: number;
  /** Those that had ended in the meantime, so that there was nothing to change. */
  unchanged: number;
  /** Those that could not be changed, for the reasons in `failures`. */
  failed: number;
  /** Why runs could not be changed; at most 1,000. */
  failures: { id: string; code: string; message: string }[];
  /** The first runs found, the newest first; at most 10. */
  examples: ListedRun[];
  /** Whether all runs were gone through: false when the signal ended it. */
  isComplete: boolean;
  /** Of a signal: what a repetition has to give. */
  dedupeId?: string;
}

/** Changes one run. Returns false when there was nothing to change. */
type Change = (runs: WorkflowRuns, runId: string) => Promise<boolean>;

interface BulkChange {
  /** The state that a run must have for it. */
  state: RunStatus["state"];
  change: Change;
}

const PAGE = 1000;
const [MAX_EXAMPLES, MAX_FAILURES] = [10, 1000];
const MAX_CONCURRENCY = 1000;

export const CANCEL: BulkChange = { state: "running", change: (runs, runId) => runs.cancel(runId) };

export const RETRY: BulkChange = {
  state: "failed",
  change: async (runs, runId) => {
    await runs.retry(runId);
    return true;
  },
};

/** The change that signals runs, and the id by which it can be repeated. */
export function signalling(
  name: string,
  data: unknown,
  dedupeId: string = randomUUID(),
): BulkChange & { dedupeId: string } {
  const change: Change = async (runs, runId) => {
    await runs.signal(runId, name, data, dedupeId);
    return true;
  };
  return { state: "running", change, dedupeId };
}

/**
 * Changes all runs that fit, the newest first, a few at a time. What has the state that the change leads to is not found
 * a second time, so that the same call again goes on where one was broken off.
 * @throws InputError for a selection without anything in it, or of a state that such runs do not have
 */
export async function changeRuns(
  runs: WorkflowRuns,
  { state, change }: BulkChange,
  selection: RunSelection,
  { dryRun = false, concurrency = 20, signal }: BulkOptions,
  { tenant }: Owner = {},
): Promise<BulkReport> {
  const filter = { ...checkBulk(selection, state), tenant };
  if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > MAX_CONCURRENCY) {
    throw new InputError(
      `the options are wrong at concurrency: not a whole number from 1 to ${MAX_CONCURRENCY}`,
    );
  }
  const report: BulkReport = {
    ...{ matched: 0, changed: 0, unchanged: 0, failed: 0, failures: [], examples: [], isComplete: true },
  };
  let cursor: string | undefined;
  do {
    const page = await runs.list(filter, PAGE, cursor);
    report.matched += page.runs.length;
    report.examples.push(...page.runs.slice(0, MAX_EXAMPLES - report.examples.length));
    if (!dryRun) await changePage(page.runs, (runId) => change(runs, runId), report, { concurrency, signal });
    cursor = page.cursor;
    if (signal?.aborted) report.isComplete = false;
  } while (cursor !== undefined && report.isComplete);
  return report;
}

function checkBulk(selection: RunSelection, state: RunStatus["state"]): RunFilter {
  const filter = checkSelection(selection);
  if (Object.values(filter).every((value) => value === undefined)) {
    throw new InputError(
      "the selection of runs is empty: it would be all of them",
      "say which: by workflow, state, version, tag, from or to",
    );
  }
  if (filter.state === undefined || filter.state === state) return { ...filter, state };
  throw new InputError(
    `the selection of runs is wrong at state: only ${state} runs can be changed so, not ${filter.state} ones`,
  );
}

async function changePage(
  page: readonly ListedRun[],
  change: (runId: string) => Promise<boolean>,
  report: BulkReport,
  { concurrency, signal }: Pick<Required<BulkOptions>, "concurrency"> & Pick<BulkOptions, "signal">,
): Promise<void> {
  const left = page.values();
  const lane = async () => {
    for (const { id } of left) {
      if (signal?.aborted) return;
      await changeOne(id, change, report);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
}

async function changeOne(
  id: string,
  change: (runId: string) => Promise<boolean>,
  report: BulkReport,
): Promise<void> {
  try {
    const isChanged = await change(id);
    report[isChanged ? "changed" : "unchanged"] += 1;
  } catch (error) {
    // What concerns one run is told; a fault of Redis ends it all.
    if (!(error instanceof GlueError)) throw error;
    if (error instanceof JobLostError || error.code === "run_over") {
      report.unchanged += 1;
      return;
    }
    const { code, message, hint } = error;
    report.failed += 1;
    if (report.failures.length < MAX_FAILURES)
      report.failures.push({ id, code, message: hint ? `${message}; ${hint}` : message });
  }
}
