import { randomUUID } from "node:crypto";
import type { ProviderBatches } from "../../providers/batches/provider-batches.ts";
import { hasFlex } from "../../providers/flex.ts";
import type { Logger } from "../../shared/logger.ts";
import { modelRef } from "../../shared/model-name.ts";
import type { ProviderEntry } from "../../shared/providers.ts";
import type { Settings } from "../../shared/settings.ts";
import type { Lease } from "../../store/batch-lease.ts";
import { endBuy, type LaneBuy, releaseRows, saveBuy } from "../../store/lane-buy.ts";
import {
  callsOf,
  endCall,
  type LaneCall,
  readCalls,
  takeCalls,
  tellCall,
  WAITS_FOR_LANE,
} from "../../store/lane-call.ts";
import { readDurations } from "../../store/lane-durations.ts";
import type { Store } from "../../store/store.ts";
import { wakeFirst } from "../../store/wake-first.ts";
import { CallGoods } from "./call-goods.ts";
import { LaneLadder } from "./lane-ladder.ts";
import { buysBatch } from "./lane-plan.ts";
import type { Brought } from "./lane-results.ts";
import { LaneSteps } from "./lane-steps.ts";

const GROUP_CALLS = 2000;
const LEAST_GROUP_CALLS = 50;
/** Calls that have to be done this much later than the first one may lie in one batch with it, which ends for all at the first one's time. */
const SPREAD_MS = 600_000;
/** A job that was told may still be on its way into its delay: it is woken so often. */
const WAKE_TRIES = 20;

interface CallBuyerOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
  entry: ProviderEntry;
  /** The entry's batches, which end with the buyer. */
  provider: ProviderBatches;
  lease: Lease;
}

/** Buys the calls of an entry's pool in provider batches, and tells their jobs. */
export class CallBuyer {
  readonly #options: CallBuyerOptions;
  readonly #goods: CallGoods;
  readonly #steps: LaneSteps;
  #calls: ReadonlyMap<string, LaneCall> = new Map();
  #rows: ReadonlyMap<string, string> = new Map();
  readonly #buys = new Map<string, LaneBuy>();
  /** Models whose batches the provider refuses. */
  readonly #closed = new Set<string>();
  /** By call: how often its job was to be woken. */
  readonly #wakes = new Map<string, number>();
  #groupCalls = GROUP_CALLS;
  #fullUntilMs = 0;

  constructor(options: CallBuyerOptions) {
    const { store, settings, logger, entry, provider } = options;
    this.#options = options;
    this.#goods = new CallGoods({
      ...{ store, settings, entry: entry.name, provider },
      callsOf: (buy) => this.#callsOf(buy),
    });
    const ladder = new LaneLadder({
      ...options,
      batchId: callsOf(entry.name),
      goods: this.#goods,
      site: {
        wants: (buy) => !isLate(buy) && !this.#closed.has(buy.model),
        isLate,
        // Pay-once comes before the deadline.
        buysUnknown: () => false,
        knownIds: () => new Set([...this.#buys.values()].map((buy) => buy.batchId)),
        full: async () => this.#full(),
        close: (modelKey) => void this.#closed.add(modelKey.slice(entry.name.length + 1)),
        end: (buy, how) => this.#end(buy, how),
        wake: () => {},
      },
    });
    this.#steps = new LaneSteps(ladder, logger, settings.lanePollMs);
  }

  /** Does what is to be done now. False when the pool is empty. */
  async turn(): Promise<boolean> {
    const { store, entry, lease } = this.#options;
    lease.check();
    const { calls, buys, rows, told } = await readCalls(store, entry.name);
    this.#calls = calls;
    this.#rows = rows;
    for (const buy of buys) if (!this.#buys.has(buy.id)) this.#buys.set(buy.id, buy);
    for (const buy of this.#buys.values()) this.#steps.go(buy);
    const waiting = [...calls.values()].filter(({ id }) => !rows.has(id));
    for (const group of Map.groupBy(waiting, ({ model }) => model).values()) await this.#buyGroup(group);
    for (const call of told) await this.#wake(call);
    return calls.size + this.#buys.size + told.length > 0;
  }

  /** Waits for what is under way; provider batches go on, and another process reads them in. */
  async close(): Promise<void> {
    await this.#steps.settle();
    await this.#options.provider.close();
  }

  #callsOf({ id }: LaneBuy): LaneCall[] {
    return [...this.#calls.values()].filter((call) => this.#rows.get(call.id) === id);
  }

  /** Buys calls of one model, once they have had the time to come together. */
  async #buyGroup(waiting: LaneCall[]): Promise<void> {
    const { store, settings, entry } = this.#options;
    const { model, since } = waiting.reduce((first, call) => (call.since < first.since ? call : first));
    const isRipe = Date.now() - since >= settings.lanePollMs || waiting.length >= this.#groupCalls;
    if (!isRipe || Date.now() < this.#fullUntilMs) return;
    if (this.#closed.has(model)) return this.#free(waiting, "its provider takes no batches of the model");
    const seen = await readDurations(store, modelRef(entry.name, model).key);
    const plan = (call: LaneCall) => ({ endsAtMs: call.until, hasFlex: hasFlex(entry) });
    const { fitting = [], late = [] } = Object.groupBy(waiting, (call) =>
      buysBatch(Date.now(), plan(call), seen) ? "fitting" : "late",
    );
    await this.#free(late, "no provider batch is expected to be done in time");
    const [first] = fitting.sort((a, b) => a.until - b.until);
    if (!first) return;
    const spreadMs = Math.max(SPREAD_MS, (first.until - Date.now()) / 4);
    const { calls, endpoint } = await this.#group(
      fitting.filter(({ until }) => until <= first.until + spreadMs),
    );
    if (calls.length > 0) await this.#buy(calls, endpoint, first.until);
  }

  /** The first calls that one provider batch can carry; what none can is told so. */
  async #group(candidates: readonly LaneCall[]): Promise<{ calls: LaneCall[]; endpoint: string }> {
    const { maxRequests, maxBytes } = this.#options.provider;
    const group = { calls: [] as LaneCall[], endpoint: "" };
    let left = maxBytes / 2;
    const most = Math.min(this.#groupCalls, maxRequests);
    for await (const { call, request } of this.#goods.requests(candidates.slice(0, most))) {
      const fit = this.#goods.fit(call, request);
      if ("reason" in fit) {
        await this.#free([call], fit.reason);
        continue;
      }
      group.endpoint ||= fit.endpoint;
      left -= fit.bytes;
      // Another endpoint's, or one too many, is left to the next group.
      if (fit.endpoint === group.endpoint && (left >= 0 || group.calls.length === 0)) group.calls.push(call);
    }
    return group;
  }

  async #buy(calls: readonly LaneCall[], endpoint: string, until: number): Promise<void> {
    const { store, entry, lease } = this.#options;
    const { model } = calls[0] as LaneCall;
    const buy: LaneBuy = {
      ...{ v: 1, id: randomUUID(), state: "intended", entry: entry.name, model },
      ...{ endpoint, requests: calls.length, tokens: 0, since: Date.now(), until },
    };
    await lease.confirm();
    const taken = await takeCalls(store, entry.name, buy, calls);
    if (taken.length === 0) return;
    buy.requests = taken.length;
    this.#rows = new Map([...this.#rows, ...taken.map((id) => [id, buy.id] as const)]);
    this.#buys.set(buy.id, buy);
    await saveBuy(store, callsOf(entry.name), buy);
    this.#steps.go(buy);
  }

  /** Tells calls that wait that they go online. */
  async #free(calls: readonly LaneCall[], reason: string, buyId = ""): Promise<void> {
    const { store, entry } = this.#options;
    for (const call of calls) await tellCall(store, entry.name, call.id, { kind: "free", reason }, buyId);
  }

  /** Its pool of enqueued tokens has no room: smaller groups, later. */
  #full(): void {
    this.#groupCalls = Math.max(LEAST_GROUP_CALLS, Math.floor(this.#groupCalls / 2));
    this.#fullUntilMs = Date.now() + Math.min(60_000, this.#options.settings.lanePollMs * 2);
  }

  async #end(buy: LaneBuy, how: { brought?: Brought; isFull?: boolean } = {}): Promise<void> {
    const { store, entry } = this.#options;
    const left = this.#callsOf(buy).filter(({ id }) => !how.brought?.recorded.has(id));
    if (how.isFull) {
      const ids = left.map(({ id }) => id);
      await releaseRows(store, callsOf(entry.name), buy.id, ids);
    } else {
      const reason = isLate(buy)
        ? "no provider batch was done in time"
        : "its provider batch brought no answer";
      await this.#free(left, reason, buy.id);
    }
    await endBuy(store, callsOf(entry.name), buy.id);
    this.#buys.delete(buy.id);
    this.#steps.forget(buy.id);
  }

  /** Has the job go on whose call was told. */
  async #wake({ id, queue, jobId }: LaneCall): Promise<void> {
    const { store, entry } = this.#options;
    const tries = (this.#wakes.get(id) ?? 0) + 1;
    this.#wakes.set(id, tries);
    if (!(await wakeFirst(store, queue, jobId, WAITS_FOR_LANE)) && tries < WAKE_TRIES) return;
    await endCall(store, entry.name, id);
    this.#wakes.delete(id);
  }
}

/** Its calls have to go another way. */
function isLate({ until = Number.POSITIVE_INFINITY }: LaneBuy): boolean {
  return Date.now() >= until;
}
