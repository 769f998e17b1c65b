import { modelRef } from "../shared/model-name.ts";
import type { OutboxEvent } from "../store/outbox-event.ts";
import { microUsd, type RowOf, type Rows } from "./tables.ts";

export type JobEvent = Extract<OutboxEvent, { kind: "job" }>;
type Answer = JobEvent["detail"]["answers"][number];

/** Returns the rows of a job that has ended. */
export function jobRows(event: JobEvent): Rows {
  const { id, tenant, state, endedAt, version, figures, detail } = event;
  const model = keyOf(figures);
  const isFailed = state === "failed";
  const place = { batch_id: figures.batchId, run_id: figures.runId, step: figures.step };
  const job: RowOf<"jobs"> = {
    ...{ id, tenant, queue: figures.queue, model, state, ...place, custom_id: figures.customId },
    ...{ conversation_id: figures.conversationId, created_at: figures.createdAt, ended_at: endedAt },
    ...{ latency_ms: figures.latencyMs, attempts: figures.attempts, calls: figures.calls },
    ...{ prompt_tokens: figures.promptTokens, cached_tokens: figures.cachedTokens },
    ...{ completion_tokens: figures.outputTokens, cost_microusd: costOf(figures) },
    ...{ error_code: figures.errorCode, error_message: detail.errorMessage },
    ...{ from_cache: figures.fromCache ? 1 : 0, prompt: detail.prompt, answer: detail.answer, version },
  };
  const shared = { job_id: id, tenant, ...place, ended_at: endedAt, attempts: figures.attempts, version };
  const calls: RowOf<"calls">[] = answersOf(event).map((answer, n) => ({
    ...{ id: `${id}/${n}`, ...shared, ...callRow(answer, model) },
    // A row of a provider batch has no time of its own.
    ...(laneOf(figures) === "batch" && { latency_ms: undefined }),
    ...{
      lane: answer.fromCache ? "cache" : laneOf(figures),
      queue_wait_ms: n === 0 ? queueWait(figures) : undefined,
    },
  }));
  if (isFailed) calls.push({ id: `${id}/failed`, ...shared, ...failedRow(figures, model) });
  return { jobs: [job], calls, errors: isFailed ? [errorRow(event, model)] : [] };
}

/** Figures name the provider's batch too. */
function laneOf({ lane }: JobEvent["figures"]): string {
  return lane.split(":", 1)[0] ?? lane;
}

/** Without a worker's detail, what its figures say. */
function answersOf({ figures, detail }: JobEvent): Partial<Answer>[] {
  if (detail.answers.length > 0) return detail.answers;
  return figures.calls > 0 || figures.fromCache ? [figures] : [];
}

function callRow(answer: Partial<Answer>, model: string | undefined): RowOf<"calls"> {
  return {
    ...{ provider: answer.entry, model: keyOf(answer) ?? model, latency_ms: answer.latencyMs },
    ...{ first_token_ms: answer.firstTokenMs, budget_wait_ms: answer.budgetWaitMs },
    ...{ prompt_tokens: answer.promptTokens, cached_tokens: answer.cachedTokens },
    ...{ completion_tokens: answer.outputTokens, cost_microusd: microUsd(answer.costUsd) },
    ...{ from_cache: answer.fromCache ? 1 : 0, finish_reason: answer.finishReason },
    provider_request_id: answer.requestId,
  };
}

/** The call that brought nothing: what it cost, if anything, is one of the answers. */
function failedRow(figures: JobEvent["figures"], model: string | undefined): RowOf<"calls"> {
  return {
    ...{
      provider: figures.entry,
      model,
      lane: laneOf(figures),
      prompt_tokens: 0,
      cached_tokens: 0,
      completion_tokens: 0,
      cost_microusd: 0,
    },
    ...{ from_cache: 0, error_code: figures.errorCode ?? "unknown" },
  };
}

function errorRow(
  { id, tenant, endedAt, version, figures, detail }: JobEvent,
  model: string | undefined,
): RowOf<"errors"> {
  return {
    ...{ id: `job/${id}/${version}`, tenant, source: "job", source_id: id, subject: model, at: endedAt },
    ...{ code: figures.errorCode ?? "unknown", category: detail.errorCategory, message: detail.errorMessage },
    ...{ attempts: figures.attempts, version },
  };
}

/** Of a job that was neither retried nor put back. */
function queueWait({ createdAt, startedAt, attempts, waits }: JobEvent["figures"]): number | undefined {
  if (createdAt === undefined || startedAt === undefined || attempts > 1 || waits > 0) return undefined;
  return Math.max(0, startedAt - createdAt);
}

/** Whoever made no call paid nothing. */
function costOf({ calls, costMicroUsd }: JobEvent["figures"]): number | null {
  return calls === 0 && costMicroUsd === null ? 0 : costMicroUsd;
}

function keyOf({
  entry,
  model,
}: {
  entry?: string | undefined;
  model?: string | undefined;
}): string | undefined {
  return entry === undefined || model === undefined ? model : modelRef(entry, model).key;
}
