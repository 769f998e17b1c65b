import { inlineOrBlob, isBlobRef, readBlob } from "../shared/blobs.ts";
import { type CompletionPayload, jobCatalog } from "../shared/catalog.ts";
import { type ChatRequest, chatRequestSchema } from "../shared/chat.ts";
import type { Logger } from "../shared/logger.ts";
import { modelRef } from "../shared/model-name.ts";
import type { ResultRecord } from "../shared/records.ts";
import { untilTaken } from "../shared/redis-refusal.ts";
import type { WorkerContext } from "./context.ts";
import type { Reservation } from "./rate-limiter.ts";

export interface AttemptInput {
  jobId: string;
  payload: CompletionPayload;
  priority: number;
  /** This attempt's number, from 1. */
  attempt: number;
  /** Aborts on cancellation, on a lost lock and at the end of a drain. */
  signal: AbortSignal;
  /** Aborts when the job's batch ended; counts until the call begins. */
  beforeCall: AbortSignal;
  logger: Logger;
}

/** Thrown by an attempt that stopped before the provider was called: nothing was paid. */
export class NotStartedError extends Error {
  override name = "NotStartedError";
}

/**
 * One provider call: waits for its budget, calls, settles, and returns the record to write.
 * @throws GlueError of a class that the verdict table knows; NotStartedError when aborted before the call; what
 * else comes is a bug, or a fault of Redis.
 */
export async function callProvider(context: WorkerContext, input: AttemptInput): Promise<ResultRecord> {
  const { payload, jobId } = input;
  const request = await loadRequest(context, payload);
  const adapter = context.adapterOf(payload.provider.entry);
  const { key } = modelRef(payload.provider.entry, payload.model);
  const reservation = await reserve(context, input, key, adapter.estimateTokens(request));
  const startedAt = performance.now();
  const reply = await adapter.complete({
    model: payload.model,
    request,
    requestId: payload.requestId,
    timeoutMs: context.settings.callTimeoutMs ?? jobCatalog.completion.timeoutMs,
    signal: input.signal,
  });
  const latencyMs = performance.now() - startedAt;
  reservation.settle(reply.tokens.total);
  const body = await untilTaken(input.logger, () =>
    inlineOrBlob(context.redis, context.keys, `result:${jobId}`, reply.body),
  );
  return {
    v: 1,
    jobId,
    status: "succeeded",
    model: payload.model,
    response: { statusCode: reply.statusCode, requestId: reply.requestId, body },
    tokens: reply.tokens,
    attempts: input.attempt,
    latencyMs: Math.round(latencyMs),
    finishedAt: Date.now(),
  };
}

async function loadRequest(
  { redis, keys }: WorkerContext,
  { request }: CompletionPayload,
): Promise<ChatRequest> {
  return isBlobRef(request) ? chatRequestSchema.parse(await readBlob(redis, keys, request)) : request;
}

async function reserve(
  context: WorkerContext,
  input: AttemptInput,
  key: string,
  tokens: number,
): Promise<Reservation> {
  const signal = AbortSignal.any([input.signal, input.beforeCall, context.draining]);
  try {
    signal.throwIfAborted();
    const reservation = await context.limiter.acquire(key, { tokens, priority: input.priority, signal });
    if (reservation.waitedMs > 1000)
      input.logger.debug({ waitedMs: reservation.waitedMs }, "waited for the budget");
    return reservation;
  } catch (error) {
    throw signal.aborted ? new NotStartedError("aborted before the provider call") : error;
  }
}
