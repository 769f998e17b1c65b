import { inlineOrBlob, isBlobRef, readBlob } from "../shared/blobs.ts";
import { type CompletionPayload, jobCatalog } from "../shared/catalog.ts";
import { type ChatRequest, chatRequestSchema } from "../shared/chat.ts";
import { APIConnectionError, LLMError, OverloadedError, RateLimitError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import type { ResultRecord } from "../shared/records.ts";
import { untilTaken } from "../shared/redis-refusal.ts";
import { CircuitOpenError } from "./circuit-breaker.ts";
import type { WorkerContext } from "./context.ts";
import type { Intake } from "./intake.ts";
import type { ProviderCall, ProviderReply } from "./providers/adapter.ts";
import type { TokenCounts } from "./rate-limiter/cost.ts";
import type { Reservation } from "./rate-limiter.ts";
import { deadlineError } from "./verdict.ts";

/** A job that would hold its place in this process for longer goes back. */
const MAX_WAIT_MS = 5000;

export interface AttemptInput {
  jobId: string;
  /** `entry:model`. */
  key: string;
  payload: CompletionPayload;
  priority: number;
  /** This attempt's number, from 1. */
  attempt: number;
  /** Aborts on cancellation, on a lost lock and at the end of a drain. */
  signal: AbortSignal;
  /** Aborts when the job's batch ended; counts until the call begins. */
  beforeCall: AbortSignal;
  intake: Intake;
  logger: Logger;
}

/** Thrown by an attempt that stopped before the provider was called: nothing was paid. */
export class NotStartedError extends Error {
  override name = "NotStartedError";
}

/**
 * One provider call: waits for its budget, asks the circuit breaker, calls, settles, and returns the record to write.
 * @throws GlueError of a class that the verdict table knows; NotStartedError when aborted before the call; what
 * else comes is a bug, or a fault of Redis.
 */
export async function callProvider(context: WorkerContext, input: AttemptInput): Promise<ResultRecord> {
  const { payload, jobId } = input;
  const request = await loadRequest(context, payload);
  const adapter = context.adapterOf(payload.provider.entry);
  const reservation = await reserve(context, input, adapter.estimateTokens(payload.model, request));
  const call: ProviderCall = {
    model: payload.model,
    request,
    requestId: payload.requestId,
    timeoutMs: context.settings.callTimeoutMs ?? jobCatalog.completion.timeoutMs,
    signal: input.signal,
  };
  if (Date.now() > payload.deadlineAt) {
    reservation.cancel();
    input.intake.unanswered();
    throw deadlineError();
  }
  const startedAt = performance.now();
  const reply = await guarded(context, input, reservation, () => adapter.complete(call));
  const latencyMs = performance.now() - startedAt;
  const body = await untilTaken(input.logger, () =>
    inlineOrBlob(context.redis, context.keys, `result:${jobId}`, reply.body),
  );
  return {
    v: 1,
    jobId,
    status: "succeeded",
    entry: payload.provider.entry,
    model: payload.model,
    response: { statusCode: reply.statusCode, requestId: reply.requestId, body },
    tokens: reply.tokens,
    attempts: input.attempt,
    latencyMs: Math.round(latencyMs),
    finishedAt: Date.now(),
  };
}

/** The call between budget, breaker and intake, each of which learns how it ended. */
async function guarded(
  { breaker }: WorkerContext,
  { key, intake }: AttemptInput,
  reservation: Reservation,
  complete: () => Promise<ProviderReply>,
): Promise<ProviderReply> {
  const admission = (await breaker?.admit(key)) ?? { isAllowed: true, isProbe: false };
  if (!admission.isAllowed) {
    reservation.cancel();
    intake.unanswered();
    intake.blocked();
    throw new CircuitOpenError(key, admission.waitMs);
  }
  if (!admission.isProbe) intake.unblocked();
  const startedAt = performance.now();
  try {
    const reply = await complete();
    reservation.settle(reply.charged);
    intake.answered();
    await breaker?.succeeded(key, admission);
    intake.unblocked();
    return reply;
  } catch (error) {
    const outcome = outcomeOf(error);
    // A refusal costs no tokens; what else failed may have cost all that was estimated.
    reservation.settle(outcome === "answered" || outcome === "limited" ? 0 : undefined);
    if (outcome === "limited") intake.limited(startedAt);
    else if (outcome === "answered") intake.answered();
    else intake.unanswered();
    if (outcome === "down") await breaker?.failed(key, admission);
    else if (outcome === "aborted") await breaker?.released(key, admission);
    else await breaker?.succeeded(key, admission);
    throw error;
  }
}

/** What a failed call says of the provider: that it is down, that it works, or nothing. */
function outcomeOf(error: unknown): "down" | "limited" | "answered" | "aborted" {
  if (error instanceof APIConnectionError || error instanceof OverloadedError) return "down";
  if (error instanceof RateLimitError) return "limited";
  return error instanceof LLMError ? "answered" : "aborted";
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
  tokens: TokenCounts,
): Promise<Reservation> {
  const signal = AbortSignal.any([input.signal, input.beforeCall, context.draining]);
  try {
    signal.throwIfAborted();
    const { key, priority } = input;
    const reservation = await context.limiter.acquire(key, {
      tokens,
      priority,
      maxWaitMs: MAX_WAIT_MS,
      signal,
    });
    input.intake.granted(reservation.waitedMs);
    if (reservation.waitedMs > 1000)
      input.logger.debug({ waitedMs: reservation.waitedMs }, "waited for the budget");
    return reservation;
  } catch (error) {
    throw signal.aborted ? new NotStartedError("aborted before the provider call") : error;
  }
}
