import type { CompletionPayload } from "../shared/catalog.ts";
import { fieldsOf } from "../shared/json.ts";
import type { ResultRecord } from "../shared/records.ts";
import type { JobFigures } from "./outbox-event.ts";

/** When a job was enqueued and its attempt began, in epoch milliseconds; how often it was put back. */
export interface JobCourse {
  createdAt: number;
  startedAt: number | undefined;
  waits: number;
}

/** What the outbox says of a job's end: no word of the request or the answer. */
export function jobFigures(
  queue: string,
  {
    batch,
    workflow,
    conversation,
    by,
  }: Pick<CompletionPayload, "batch" | "workflow" | "conversation" | "by">,
  {
    entry,
    model,
    tokens,
    costUsd,
    latencyMs,
    attempts,
    calls,
    fromCache,
    error,
    response,
    lane,
  }: ResultRecord,
  course: JobCourse | undefined,
): JobFigures {
  const usage = response && "usage" in response.body ? fieldsOf(response.body.usage) : {};
  return {
    ...{ queue, entry, model, by, ...course, latencyMs, attempts, calls, fromCache },
    ...{ batchId: batch?.id, customId: batch?.customId, line: batch?.line },
    ...{ runId: workflow?.runId, step: workflow?.step, conversationId: conversation?.id },
    ...{ promptTokens: tokens.prompt, cachedTokens: tokens.cached, outputTokens: tokens.completion },
    ...(lane && { lane }),
    reasoningTokens: fieldsOf(usage.completion_tokens_details).reasoning_tokens,
    ...{ isEstimated: tokens.estimated, costUsd, errorCode: error?.code },
  };
}
