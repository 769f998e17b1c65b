import { hasBatches } from "../providers/batches/create-batches.ts";
import { takesFlex } from "../providers/flex.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import { LANE_PRICE_SHARE } from "../shared/cost.ts";
import { fromErrorRecord } from "../shared/error-record.ts";
import { reserveCost, settleCost } from "../store/cost-ledger.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { askLane, forgetCalls, type LaneCall, WAITS_FOR_LANE } from "../store/lane-call.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { WorkerContext } from "./context.ts";
import type { CallInput } from "./provider-call.ts";

/** Should the word that its call was answered be lost, a job looks for itself. */
const MAX_AWAY_MS = 600_000;
/** So often it looks when its time is up and the batch is on its way to its end. */
const LATE_AWAY_MS = 5000;
/** What is held of a cost limit outlasts any provider batch. */
const HOLD_MS = 3 * 86_400_000;

/** The job's call lies in a lane: it goes back until there is an answer. */
export class LaneWaitError extends Error {
  override name = "LaneWaitError";
  readonly delayMs: number;

  constructor(delayMs: number) {
    super(WAITS_FOR_LANE);
    this.delayMs = Math.max(1, Math.ceil(delayMs));
  }
}

interface LaneCallInput extends CallInput {
  payload: CompletionPayload;
  queue: string;
  /** Which answer of the job it is, from 0. */
  turn: number;
}

/**
 * Returns the answer that a provider batch brought for a call, or why there is none: then it is made online.
 * @throws LaneWaitError while nothing is known yet; LLMError, with which the batch ended the call
 */
export async function callInLane(
  context: WorkerContext,
  input: LaneCallInput,
): Promise<{ call?: FinishedCall; missed?: string }> {
  const { payload, jobId, queue, turn, model, request, wire } = input;
  if (payload.lane?.kind !== "batch") return {};
  const lack = lackOf(context, input);
  if (lack) return miss(context, input, lack);
  const { store } = context;
  const now = clockOf(store).now();
  const until = untilOf(context, input, payload.lane);
  const id = callIdOf(jobId, turn);
  const call: LaneCall = { v: 1, id, jobId, queue, model: model.model, wire, since: now, until };
  const ask = (isOver: boolean) => askLane(store, model.entry, { call, request, isOver });
  let state = await ask(now >= until);
  // Who has money for the call alone, or none, makes it by itself, or learns of it there.
  if (state.kind === "waiting" && !(await hold(context, input, id))) state = await ask(true);
  if (state.kind === "waiting") throw new LaneWaitError(Math.min(until - now, MAX_AWAY_MS));
  if (state.kind === "bought")
    throw new LaneWaitError(now < until ? Math.min(until - now, MAX_AWAY_MS) : LATE_AWAY_MS);
  const told = state.kind === "told" ? state.told : undefined;
  await settle(context, input, id, told?.kind === "call" ? (told.call.costUsd ?? 0) : 0);
  if (told?.kind === "call") return { call: told.call };
  if (told?.kind === "error") throw fromErrorRecord(told.error);
  return miss(context, input, told?.reason ?? "no provider batch was done in time");
}

/** Forgets what lanes brought for a job that has its record. */
export async function forgetLaneCalls({ store }: WorkerContext, jobId: string, turns: number): Promise<void> {
  // The last turn may have failed.
  await forgetCalls(
    store,
    Array.from({ length: turns + 1 }, (_, turn) => callIdOf(jobId, turn)),
  );
}

function callIdOf(jobId: string, turn: number): string {
  return `${jobId}:${turn}`;
}

/** When the call has to go another way: before that it may be had in the tier flex. */
function untilOf(
  { settings }: WorkerContext,
  { model, request, wire }: LaneCallInput,
  { until }: { until: number },
): number {
  const entry = settings.providers[model.entry];
  const hasFlex = entry !== undefined && takesFlex(entry, request, wire);
  return hasFlex ? until - 2 * settings.laneReserveMs : until;
}

/** Why a provider batch cannot carry the call, as far as the worker knows. */
function lackOf({ settings }: WorkerContext, { model, payload }: LaneCallInput): string | undefined {
  if (payload.stream) return "provider batches carry no streamed answers";
  if (payload.fallbacks) return "provider batches carry no calls of several models";
  const entry = settings.providers[model.entry];
  return entry && hasBatches(entry) ? undefined : `${model.entry} has no provider batches`;
}

/** Says once for each model and reason that calls go online; their records say it each time. */
function miss({ laneNotices }: WorkerContext, { model, logger }: LaneCallInput, reason: string) {
  const notice = `${model.key}: ${reason}`;
  if (!laneNotices.has(notice)) {
    laneNotices.add(notice);
    logger.warn({ model: model.key, reason }, "a call that asked for a lane goes online");
  }
  return { missed: reason };
}

/** Holds what the call may cost; false where a limit leaves too little. */
async function hold(context: WorkerContext, input: LaneCallInput, callId: string): Promise<boolean> {
  const { costLimits, model, request, jobId } = input;
  if (costLimits.length === 0) return true;
  const { input: prompt, output } = context.adapterOf(model.entry).estimateTokens(model.model, request);
  const use = { prompt, completion: output, total: prompt + output, cached: 0 };
  const usd = context.costs.of(model, use, LANE_PRICE_SHARE);
  for (const { ledger } of usd === null ? [] : costLimits) {
    const { kind } = await reserveCost(context.store, { ledger, jobId, callId }, usd ?? 0, HOLD_MS);
    if (kind !== "reserved") {
      await settle(context, input, callId, 0);
      return false;
    }
  }
  return usd !== null;
}

async function settle(
  { store }: WorkerContext,
  { costLimits, jobId }: LaneCallInput,
  callId: string,
  usd: number,
): Promise<void> {
  for (const { ledger } of costLimits) await settleCost(store, { ledger, jobId, callId }, usd);
}
