import { randomUUID } from "node:crypto";
import { z } from "zod";
import { canonicalJson, NestingError } from "../shared/canonical-json.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import { type ChatCompletion, type ChatRequest, chatCompletionSchema } from "../shared/chat.ts";
import { sha256 } from "../shared/digest.ts";
import { policyOf } from "../shared/error-policy.ts";
import { toDouble } from "../shared/exact-json.ts";
import { parseJson } from "../shared/json.ts";
import { fingerprint } from "../shared/providers.ts";
import type { Settings } from "../shared/settings.ts";
import { CacheWaitError } from "../shared/unsent-errors.ts";
import { providerOptionsFor } from "../shared/wire-options.ts";
import type { CacheStore } from "../store/cache.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import { clockOf } from "../store/redis-clock.ts";
import { recordWait } from "../telemetry/tracing.ts";
import type { WorkerContext } from "./context.ts";
import { type CallInput, callProvider, NotStartedError } from "./provider-call.ts";
import { compareQuestion, keepQuestion } from "./semantic-cache.ts";

/** A job that waits for an equal request goes back for as long as that one has taken so far. */
const [MIN_AWAY_MS, MAX_AWAY_MS] = [1000, 5000];
/** So near its deadline a job no longer waits for another one. */
const LAST_CALL_MS = 5000;

const entrySchema = z.object({ statusCode: z.number(), requestId: z.string(), body: chatCompletionSchema });
type Entry = z.infer<typeof entrySchema>;

type CachedCallInput = CallInput & {
  payload: Pick<CompletionPayload, "cache" | "batch" | "tenant" | "agent">;
  /** Of an answer, from the provider or the cache; what is not is asked for again. */
  isWorthKeeping: (body: ChatCompletion) => boolean;
  /** Told of each call beside that of the answer, which the job pays for. */
  onSideCall?: (call: FinishedCall) => void;
};

/** One call's place in the cache. */
interface Slot {
  cache: CacheStore;
  digest: string;
  /** Of this caller. */
  token: string;
  ttlSeconds: number;
}

/**
 * The answer from the cache, or a provider call whose answer goes there. Of equal requests at the same time one calls,
 * and the others take its answer. No fault of the cache fails a call.
 * @throws as `callProvider` does; CacheWaitError when an equal request is still being answered.
 */
export async function callOrCached(context: WorkerContext, input: CachedCallInput): Promise<FinishedCall> {
  const slot = slotOf(context, input);
  if (!slot) return callProvider(context, input);
  const claim = await claimOrWait(context, input, slot);
  context.metrics?.cacheAsked("response", claim.kind === "hit" ? (claim.waited ? "shared" : "hit") : "miss");
  switch (claim.kind) {
    case "hit":
      input.logger.debug({ model: input.model.key }, "answer from the cache");
      return toFinishedCall(input, claim.entry);
    case "alone":
      return callAndKeep(context, input, slot);
    case "lead":
      return lead(context, input, slot);
  }
}

/** Undefined when the call has nothing to do with the cache. */
function slotOf(context: WorkerContext, input: CachedCallInput): Slot | undefined {
  const { cache, settings } = context;
  const ttlSeconds = ttlOf(input.payload, input.request, settings.cache);
  const digest = ttlSeconds && digestOf(context, input);
  return cache && ttlSeconds && digest ? { cache, digest, token: randomUUID(), ttlSeconds } : undefined;
}

/** Without a word of the caller's only answers that would be the same again: two samples stay two. */
function ttlOf(
  { cache }: Pick<CompletionPayload, "cache">,
  { temperature }: ChatRequest,
  settings: Settings["cache"],
): number | undefined {
  if (cache === false || (cache === undefined && toDouble(temperature) !== 0)) return undefined;
  return typeof cache === "object" ? cache.ttlSeconds : settings.ttlSeconds;
}

/** Of all that the answer hangs on: the server and account, the model, the whole request. */
function digestOf(
  { settings }: WorkerContext,
  { model, request, wire, payload: { tenant } }: CachedCallInput,
): string | undefined {
  const entry = settings.providers[model.entry];
  if (!entry) return undefined;
  const { headers, query } = wire ?? {};
  const options = providerOptionsFor(entry, wire);
  const said = (options ?? headers ?? query) && { options, headers, query };
  const asked = {
    entry: entry.name,
    fingerprint: fingerprint(entry),
    model: model.model,
    request,
    said,
    tenant,
  };
  try {
    return sha256(canonicalJson(asked));
  } catch (error) {
    if (error instanceof NestingError) return undefined;
    throw error;
  }
}

type Settled = { kind: "hit"; entry: Entry } | { kind: "lead" } | { kind: "alone" };

/** Batch rows go back at once: there are others to do in their place. */
async function claimOrWait(
  context: WorkerContext,
  input: CachedCallInput,
  slot: Slot,
): Promise<Settled & { waited: boolean }> {
  const canWait = input.payload.batch === undefined;
  for (let waited = false; ; waited = true) {
    const claim = await claimNow(input, slot);
    if (claim.kind !== "follow") return { ...claim, waited };
    const leftMs = input.deadlineAt - clockOf(context.store).now();
    if (leftMs < LAST_CALL_MS) return { kind: "alone", waited };
    if (waited || !canWait || !(await waitHere(input, slot))) {
      const awayMs = Math.min(Math.max(claim.elapsedMs, MIN_AWAY_MS), MAX_AWAY_MS, leftMs / 2);
      throw new CacheWaitError(Math.ceil(awayMs));
    }
  }
}

type Claimed = Settled | { kind: "follow"; elapsedMs: number };

async function claimNow(
  { logger, isWorthKeeping }: CachedCallInput,
  { cache, digest, token, ttlSeconds }: Slot,
): Promise<Claimed> {
  try {
    for (const maxAgeMs of [ttlSeconds * 1000, 0]) {
      const claim = await cache.claim(digest, token, maxAgeMs);
      if (claim.kind !== "hit") return claim;
      const entry = entrySchema.safeParse(parseJson(claim.text));
      if (entry.success && isWorthKeeping(entry.data.body)) return { kind: "hit", entry: entry.data };
      if (entry.success) continue;
      logger.warn({ digest }, "an entry of the cache cannot be read; it counts as absent");
    }
  } catch (error) {
    logger.debug({ err: error }, "the cache could not be asked");
  }
  return { kind: "alone" };
}

async function waitHere({ beforeCall: signal }: CachedCallInput, slot: Slot): Promise<boolean> {
  const startedAt = Date.now();
  const waited = !signal.aborted && (await slot.cache.waitForEnd(slot.digest, signal));
  recordWait("cache", startedAt);
  if (signal.aborted) throw new NotStartedError("aborted while an equal request was being answered");
  return waited;
}

async function lead(context: WorkerContext, input: CachedCallInput, slot: Slot): Promise<FinishedCall> {
  const { cache, digest, token } = slot;
  using _renewal = cache.holdLead(digest, token);
  try {
    return await callAndKeep(context, input, slot);
  } catch (error) {
    await quietly(input, () => cache.release(digest, token, policyOf(error).followers));
    throw error;
  }
}

async function callAndKeep(
  context: WorkerContext,
  input: CachedCallInput,
  slot: Slot,
): Promise<FinishedCall> {
  const { cache, digest, token, ttlSeconds } = slot;
  const compared = await compareQuestion(context, input, {
    scopeOf: (request) => digestOf(context, { ...input, request }),
    answerOf: (near) => answerAt(input, slot, near),
  });
  if (compared?.near && context.semantic?.settings.mode === "serve") {
    context.metrics?.cacheAsked("similar", "hit");
    await quietly(input, () => cache.release(digest, token, "none"));
    return toFinishedCall(input, compared.near.entry, compared.near.similarity);
  }
  const call = await callProvider(context, input);
  const { statusCode, requestId, body } = call;
  const entry = JSON.stringify({ statusCode, requestId, body } satisfies Entry);
  const isGood = isWhole(body) && input.isWorthKeeping(body);
  await quietly(input, () =>
    isGood ? cache.keep(digest, token, entry, ttlSeconds) : cache.release(digest, token, "lasting"),
  );
  if (compared && isGood)
    await quietly(input, () => keepQuestion(context, input, compared, { digest, ttlSeconds, call }));
  return call;
}

/** The answer that stands under another digest; undefined when it is gone, too old or will not do. */
async function answerAt(
  { isWorthKeeping }: CachedCallInput,
  { cache, ttlSeconds }: Slot,
  digest: string,
): Promise<Entry | undefined> {
  const text = await cache.peek(digest, ttlSeconds * 1000);
  const entry = entrySchema.safeParse(text === undefined ? undefined : parseJson(text));
  return entry.success && isWorthKeeping(entry.data.body) ? entry.data : undefined;
}

/** An answer cut at `max_tokens` would be cut there again; what a content filter did may not happen again. */
function isWhole({ choices }: ChatCompletion): boolean {
  return choices.length > 0 && choices.every(({ finish_reason }) => finish_reason !== "content_filter");
}

/** A cache that is full, or a Redis that refuses writes, costs others a call and this one nothing. */
async function quietly({ logger }: CachedCallInput, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    logger.debug({ err: error }, "an answer could not be kept in the cache");
  }
}

function toFinishedCall({ model }: CachedCallInput, entry: Entry, similarity?: number): FinishedCall {
  return {
    entry: model.entry,
    model: model.model,
    ...entry,
    tokens: { prompt: 0, completion: 0, total: 0, cached: 0 },
    costUsd: 0,
    latencyMs: 0,
    fromCache: true,
    ...(similarity !== undefined && { similarity }),
  };
}
