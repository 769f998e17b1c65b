import type { ConcurrencyController } from "../limits/concurrency-controller.ts";
import { liftTestedPause, pausedMs, testLongPause } from "../limits/pause.ts";
import type { Reservation } from "../limits/rate-limiter.ts";
import type { OnDelta, ProviderCall, ProviderReply } from "../providers/provider.ts";
import { paidFor } from "../providers/provider-errors.ts";
import { type CompletionPayload, hasSeveralCalls, jobCatalog } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { LANE_PRICE_SHARE } from "../shared/cost.ts";
import { policyOf } from "../shared/error-policy.ts";
import type { Logger } from "../shared/logger.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import type { TokenUse } from "../shared/token-use.ts";
import { BudgetWaitError, CircuitOpenError } from "../shared/unsent-errors.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { clockOf } from "../store/redis-clock.ts";
import { recordWait } from "../telemetry/tracing.ts";
import type { CostLimit, Outlay } from "./call-costs.ts";
import { traceCall } from "./call-trace.ts";
import { CallWatch } from "./call-watch.ts";
import type { WorkerContext } from "./context.ts";
import { flexMsOf } from "./flex-call.ts";
import type { CallTiming } from "./job-attempt.ts";
import { completesLeast } from "./least-call.ts";
import { both, reserveOfTenant } from "./tenant-reservation.ts";
import { deadlineError } from "./verdict.ts";

/** A job that would hold its place in this process for longer goes back. */
const MAX_WAIT_MS = 5000;

export interface CallInput {
  jobId: string;
  model: ModelRef;
  /** Whose call it is. */
  payload: Pick<
    CompletionPayload,
    "agent" | "batch" | "tenant" | "lane" | "tools" | "output" | "fallbacks" | "trim" | "wire"
  >;
  request: ChatRequest;
  /** What the call says to its provider beside the request. */
  wire?: WireOptions | undefined;
  /** Ours, of this call alone. */
  requestId: string;
  /** Epoch milliseconds. */
  deadlineAt: number;
  priority: number;
  /** Aborts on cancellation, on a lost lock and at the end of a drain. */
  signal: AbortSignal;
  /** Aborts with `signal`, and when the job's batch ended or the process drains; counts until the call begins. */
  beforeCall: AbortSignal;
  /** Makes sure that no other worker has had the job. @throws FencedError */
  assertHeld: () => Promise<void>;
  controller: ConcurrencyController;
  timing: CallTiming;
  /** The id of the job's conversation. */
  conversation?: string | undefined;
  /** What the job says of the time of its calls. */
  timeouts: Pick<CompletionPayload, "timeoutMs" | "idleTimeoutMs">;
  /** The provider asked for a long pause, as it seems. */
  mayBePaused: boolean;
  /** The job is not in the queue of its model, whose pauses the call has to keep to all the same. */
  isRouted: boolean;
  /** The same call failed before and used up an attempt. */
  isRepeated: boolean;
  /** What the call counts towards; mostly nothing. */
  costLimits: readonly CostLimit[];
  /** Told the answer's pieces as they come. */
  onDelta?: OnDelta;
  logger: Logger;
}

/** The call, and the least that can be asked in its place. */
interface Calls {
  /** Whether the first piece of the answer is there. */
  hasBegun: () => boolean;
  complete: () => Promise<ProviderReply>;
  completesLeast: () => Promise<boolean>;
}

/** What a call may use, and may cost where there is a limit. */
interface Held {
  reservation: Reservation;
  outlay: Outlay | undefined;
  /** The long pause that the call tests. */
  tests: string | undefined;
}

/** The attempt was stopped before the provider was called: nothing was paid. */
export class NotStartedError extends Error {
  override name = "NotStartedError";
}

/**
 * One provider call: waits for its money and its budget, asks the circuit breaker, calls, settles.
 * @throws GlueError, which the error policy knows; NotStartedError when aborted before the call; FencedError; what
 * else comes is a bug, or a fault of Redis.
 */
export async function callProvider(context: WorkerContext, input: CallInput): Promise<FinishedCall> {
  const { model, request, wire, requestId, signal, onDelta, conversation } = input;
  const provider = context.settings.providers[model.entry] ?? { name: model.entry };
  const adapter = context.adapterOf(model.entry);
  const watch = new CallWatch(context, input);
  const call: ProviderCall = {
    model: model.model,
    request,
    wire,
    requestId,
    ...timeoutsOf(context, input),
    ...flexOf(context, input),
    signal,
    onDelta: watch.onDelta(onDelta, () => input.controller.began()),
  };
  const held = await reserve(context, input, call, () => adapter.estimateTokens(model.model, request));
  if (clockOf(context.store).now() > input.deadlineAt) {
    input.controller.unanswered();
    await release(held);
    throw deadlineError();
  }
  const startedAt = performance.now();
  const reply = await guarded(context, input, held, {
    hasBegun: () => watch.firstPieceMs !== undefined,
    complete: () =>
      traceCall({ provider, conversation }, call, watch, () => watch.complete(() => adapter.complete(call))),
    completesLeast: () =>
      // It is nobody's call.
      completesLeast(adapter, call, (ask) => new CallWatch(context, { model, payload: {} }).complete(ask)),
  });
  const latencyMs = Math.round(performance.now() - startedAt);
  const { prompt: promptTokens, completion: completionTokens } = reply.tokens;
  // The end of a job of one call says the same.
  if (hasSeveralCalls(input.payload))
    input.logger.debug({ model: model.key, latencyMs, promptTokens, completionTokens }, "provider answered");
  if (call.isFlex && !reply.isFlex) sayNoFlex(context, input);
  return {
    entry: model.entry,
    model: model.model,
    statusCode: reply.statusCode,
    requestId: reply.requestId,
    body: reply.body,
    tokens: reply.tokens,
    costUsd: watch.costUsd,
    latencyMs,
    ...(reply.isFlex && { lane: "flex" as const }),
    ...(watch.firstPieceMs !== undefined && { firstTokenMs: Math.round(watch.firstPieceMs) }),
    ...(held.reservation.waitedMs >= 1 && { budgetWaitMs: Math.round(held.reservation.waitedMs) }),
  };
}

/** The call's own word comes first, then the setting. */
function timeoutsOf({ settings }: WorkerContext, { timeouts, onDelta }: CallInput) {
  const { timeoutMs, streamTimeoutMs } = jobCatalog.completion;
  return {
    timeoutMs: timeouts.timeoutMs ?? settings.callTimeoutMs ?? (onDelta ? streamTimeoutMs : timeoutMs),
    idleTimeoutMs: timeouts.idleTimeoutMs ?? settings.idleTimeoutMs,
  };
}

/** A flex call may take long: it has until the row has to go online, and at most so long. */
const MAX_FLEX_MS = 15 * 60_000;

/** Whether the call is asked for in the cheap tier, and the time that it has then. */
function flexOf(
  context: WorkerContext,
  input: CallInput,
): Pick<ProviderCall, "isFlex"> & { timeoutMs?: number } {
  const leftMs = flexMsOf(context, input);
  if (leftMs === 0) return {};
  const { timeoutMs } = timeoutsOf(context, input);
  return { isFlex: true, timeoutMs: Math.max(timeoutMs, Math.min(leftMs, MAX_FLEX_MS)) };
}

/** Says once that a model is not to be had in the tier: its rows cost the whole price. */
function sayNoFlex({ laneNotices }: WorkerContext, { model, logger }: CallInput): void {
  if (laneNotices.has(model.key)) return;
  laneNotices.add(model.key);
  logger.warn({ model: model.key }, "the provider has no tier flex for this model: its calls go online");
}

/** The call between budget, breaker and concurrency controller, each of which learns how it ended. */
async function guarded(
  context: WorkerContext,
  { model, controller, isRouted, isRepeated, timing, logger, assertHeld }: CallInput,
  held: Held,
  { hasBegun, complete, completesLeast }: Calls,
): Promise<ProviderReply> {
  const { breaker } = context;
  const { key } = model;
  const admission = (await breaker?.admit(key)) ?? { isAllowed: true, isProbe: false };
  if (!admission.isAllowed) {
    controller.unanswered();
    if (!isRouted) controller.blocked();
    await release(held);
    throw new CircuitOpenError(key, admission.waitMs);
  }
  if (!admission.isProbe) controller.unblocked();
  await assertHeld().catch(async (error) => {
    controller.unanswered();
    await breaker?.released(key, admission);
    await release(held);
    throw error;
  });
  const startedAt = performance.now();
  timing.sentAt = startedAt;
  context.budgets.sent(key);
  try {
    const reply = await complete();
    held.reservation.settle(reply.charged);
    controller.answered(hasBegun());
    context.answered.set(key, Date.now() - (performance.now() - startedAt));
    await held.outlay?.settle(reply.tokens, reply.isFlex ? LANE_PRICE_SHARE : 1);
    await breaker?.succeeded(key, admission);
    controller.unblocked();
    if (held.tests) await liftTestedPause(context, model, held.tests);
    return reply;
  } catch (error) {
    const { provider, charged } = policyOf(error);
    const paid = paidFor(error);
    if (paid) {
      const latencyMs = Math.round(performance.now() - startedAt);
      timing.lost = { tokens: paid, costUsd: context.costs.of(model, paid), latencyMs };
    }
    if (provider === "limited") controller.limited(startedAt);
    else if (provider === "works") controller.answered(hasBegun());
    else controller.unanswered();
    // What was reserved for the failed call is more than the least one takes.
    await chargeFailure(held, paid ?? (charged === "nothing" ? 0 : undefined));
    if (provider === "down" && breaker?.wantsTest(key) && (await completesLeast())) {
      logger.info({ model: key }, "the provider answers a call of a few tokens: the fault is the job's own");
      await breaker?.succeeded(key, admission);
    } else if (provider === "down") await breaker?.failed(key, admission, { isRepeated });
    else if (provider === "unknown") await breaker?.released(key, admission);
    else await breaker?.succeeded(key, admission);
    if (held.tests && provider === "works") await liftTestedPause(context, model, held.tests);
    throw error;
  }
}

/** @param used undefined when nobody knows it: what was reserved stands */
async function chargeFailure({ reservation, outlay }: Held, used: TokenUse | 0 | undefined): Promise<void> {
  reservation.settle(used ? { input: used.prompt, output: used.completion } : used);
  await outlay?.settle(used);
}

/** The money first: while others hold it, this call must not hold what it could use of the budget. */
async function reserve(
  context: WorkerContext,
  input: CallInput,
  { request, timeoutMs }: ProviderCall,
  estimateNow: () => TokenCounts,
): Promise<Held> {
  const { jobId, model, costLimits: limits } = input;
  const { beforeCall: signal } = input;
  let outlay: Outlay | undefined;
  let tenants: Reservation | undefined;
  try {
    signal.throwIfAborted();
    if (input.isRouted) await assertNotPaused(context, model);
    const isAsked = input.isRouted || input.mayBePaused;
    const tests = isAsked ? await testLongPause(context, model) : undefined;
    if (limits.length > 0) {
      const call = { jobId, model, request, estimate: estimateNow, timeoutMs };
      outlay = await context.costs.hold({ ...call, limits, signal });
    }
    const estimate = estimateNow();
    tenants = await reserveOfTenant(context, { ...input, signal }, estimate);
    const reservation = await context.limiter.acquire(model.key, {
      tokens: estimate,
      priority: input.priority,
      maxWaitMs: MAX_WAIT_MS,
      isUrgent: input.payload.batch === undefined,
      signal,
    });
    input.controller.granted(reservation.waitedMs);
    context.metrics?.budgetWaited(model.entry, model.model, reservation.waitedMs);
    recordWait("budget", Date.now() - reservation.waitedMs);
    if (reservation.waitedMs > 1000)
      input.logger.debug({ waitedMs: reservation.waitedMs }, "waited for the budget");
    return { reservation: both(reservation, tenants), outlay, tests };
  } catch (error) {
    tenants?.cancel();
    await outlay?.settle(0);
    throw signal.aborted ? new NotStartedError("aborted before the provider call") : error;
  }
}

/** An open breaker speaks for itself, when it is asked. @throws BudgetWaitError */
async function assertNotPaused(context: WorkerContext, model: ModelRef): Promise<void> {
  if (context.breaker?.isOpen(model.key)) return;
  const ms = await pausedMs(context, model);
  if (ms > 0) throw new BudgetWaitError(model.key, ms);
}

/** Gives back what was held for a call that is not made. */
async function release({ reservation, outlay }: Omit<Held, "tests">): Promise<void> {
  reservation.cancel();
  await outlay?.settle(0);
}
