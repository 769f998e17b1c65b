import { redactedMaybe } from "../shared/redact.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import type { OutboxEvent } from "../store/outbox-event.ts";
import {
  type AskedEntry,
  type EndedEntry,
  type RunJournalEntry,
  readRunJournal,
} from "../store/run-journal.ts";
import { readRun } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { microUsd, type RowOf, type Rows } from "./tables.ts";

export type RunEvent = Extract<OutboxEvent, { kind: "run" }>;

/** Returns the rows of a run that has ended, or went on as new, with its steps as far as Redis still has its journal. */
export async function runRows(store: Store, event: RunEvent): Promise<Rows> {
  const { id, tenant, state, endedAt, version, figures, detail } = event;
  const message = redactedMaybe(store.redact, detail.errorMessage);
  const { workflow } = figures;
  const record = await readRun(store, id).catch(unlessLost(undefined));
  const journal = await readRunJournal(store, id).catch(unlessLost([]));
  const run: RowOf<"runs"> = {
    ...{
      id,
      tenant,
      workflow,
      workflow_version: figures.codeVersion,
      state,
      tags: JSON.stringify(record?.tags ?? []),
    },
    ...{ parent_run_id: figures.parentRunId, parent_step: figures.parentStep, started_at: figures.createdAt },
    ...{ ended_at: state === "running" ? null : endedAt, retries: figures.retries },
    ...{ prompt_tokens: figures.promptTokens, completion_tokens: figures.outputTokens },
    ...{ cost_microusd: figures.costMicroUsd ?? 0, unpriced: figures.unpriced },
    ...{ error_code: figures.errorCode, error_message: message, updated_at: endedAt, version },
  };
  const error: RowOf<"errors"> = {
    ...{ id: `run/${id}/${version}`, tenant, source: "run", source_id: id, subject: workflow, at: endedAt },
    ...{ code: figures.errorCode ?? "unknown", category: detail.errorCategory, message },
    ...{ attempts: figures.retries + 1, version },
  };
  const shared = { run_id: id, tenant, workflow, updated_at: endedAt, version };
  return {
    runs: [run],
    steps: stepsOf(journal).map((step) => ({ ...step, ...shared })),
    errors: state === "failed" ? [error] : [],
  };
}

/** What is damaged, or gone, keeps nothing else from being written; what Redis could not be asked for is asked for again. */
function unlessLost<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (isStoredLoss(error)) return instead;
    throw error;
  };
}

/** The steps that a journal tells of, with their first end. */
function stepsOf(journal: readonly RunJournalEntry[]): RowOf<"steps">[] {
  const asked = new Map<string, Pick<AskedEntry, "step" | "kind" | "subject" | "job" | "at">>();
  const ended = new Map<string, EndedEntry>();
  for (const entry of journal) {
    if (entry.type === "asked" && !asked.has(entry.step)) asked.set(entry.step, entry);
    if (entry.type !== "ended" || ended.has(entry.step)) continue;
    ended.set(entry.step, entry);
    // Nobody writes down that local work begins.
    const { step, at, tookMs } = entry;
    if (tookMs !== undefined && !asked.has(step)) asked.set(step, { step, kind: "local", at: at - tookMs });
  }
  return [...asked.values()].map(({ step, kind, subject, job, at }) => {
    const end = ended.get(step);
    return {
      ...{ step, kind, subject, job_id: job, started_at: at, ended_at: end?.at },
      ...{ state: end ? (end.error ? "failed" : "succeeded") : "open", error_code: end?.error?.code },
      ...{ prompt_tokens: end?.tokens?.prompt ?? 0, completion_tokens: end?.tokens?.completion ?? 0 },
      // A sleep costs nothing; of a completion nobody may know it.
      ...{
        cost_microusd: microUsd(end?.costUsd === undefined ? 0 : end.costUsd),
        reused: end?.taken ? 1 : 0,
      },
    };
  });
}
