import { channel } from "node:diagnostics_channel";
import { setTimeout as delay } from "node:timers/promises";
import { mentionsLimit, statedLimits } from "../providers/limit-headers.ts";
import type { SeenHeaders } from "../providers/provider.ts";
import {
  budgetId,
  budgetInForce,
  configuredBudget,
  STATED_LIMITS,
  type StatedLimits,
} from "../shared/budget.ts";
import type { Budget } from "../shared/limits-setting.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import {
  GUARD_MS,
  type Guess,
  type LearnedLimits,
  readLearnedLimits,
  writeLearnedLimits,
} from "../store/learned-limits.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { readWorkerCards } from "../store/worker-card.ts";
import { AcceptedCalls } from "./accepted-calls.ts";
import { afterRefusal, held, isGivenUp, pauseMsOf, rateOf } from "./guessed-rate.ts";

/** After a change a higher limit is not believed for so long: a gateway may state those of several accounts in turn. */
const SETTLING_MS = 5000;
/** So many answers in a row that no longer mention a limit take it back. */
const SILENT_ANSWERS = 10;
/** How often a rate that was concluded from refusals is looked at, and by how much it has to change. */
const RAISE_MS = 5000;
const LEAST_CHANGE = 0.01;
const learnedChannel = channel("gluellm:limits");

interface FleetBudgetsOptions {
  store: Store;
  settings: Pick<Settings, "limits" | "learnLimits">;
  logger: Logger;
  /** It is told the keys whose budgets have changed. */
  onChange: (keys: string[]) => void;
}

/** What a process knows of one budget. */
interface Learned {
  limits: LearnedLimits;
  /** When this process learned of the refusal from which they were concluded. */
  refusedAtMs: number;
  /** When the limits changed: answers to calls that were sent before say what was true before. */
  changedAtMs: number;
  /** Successful answers in a row that did not mention a limit that is known. */
  silent: number;
  isTelling: boolean;
}

/**
 * The budget in force of every key: what is configured, and what the providers' answers state. One process writes
 * what changed for the fleet, and all follow it. Diagnostics channel `gluellm:limits`: `{budget, ...limits}`.
 */
export class FleetBudgets {
  readonly #options: FleetBudgetsOptions;
  /** By budget id. */
  readonly #learned = new Map<string, Learned>();
  readonly #inForce = new Map<string, Budget | undefined>();
  readonly #accepted = new Map<string, AcceptedCalls>();

  constructor(options: FleetBudgetsOptions) {
    this.#options = options;
  }

  /** Returns the budget in force of `entry:model`; undefined without a limit. */
  of = (key: string): Budget | undefined => {
    if (!this.#inForce.has(key)) this.#inForce.set(key, this.#merge(key));
    return this.#inForce.get(key);
  };

  /** Returns the name of the budget of `entry:model`: its bucket, else the key. */
  idOf(key: string): string {
    return budgetId(this.#options.settings.limits, key);
  }

  /**
   * Takes over what the fleet knows, of one budget or of all: at the start, when another process has learned something,
   * and every few seconds, as messages get lost. What Redis no longer has is told again.
   */
  async read(onlyId?: string): Promise<void> {
    const { store, settings } = this.#options;
    if (!settings.learnLimits) return;
    const stored = await readLearnedLimits(store);
    for (const [id, limits] of stored) {
      const own = this.#learned.get(id);
      const isOther = !own?.isTelling && !isSame(own?.limits, limits);
      if (isOther && (onlyId === undefined || id === onlyId)) this.#change(id, limits);
    }
    for (const id of this.#learned.keys()) if (!stored.has(id)) this.#tell(id);
    if (onlyId !== undefined) return;
    for (const [id, { limits }] of this.#learned)
      if (limits.guess && limits.rpm !== undefined) await this.#raise(id, limits, limits.guess);
  }

  /** Learns from the headers of an answer, also of a refusal. */
  observe(key: string, { headers, isSuccess, sentAtMs }: Omit<SeenHeaders, "model">): void {
    if (!this.#options.settings.learnLimits) return;
    const id = this.idOf(key);
    const own = this.#learned.get(id);
    const isGuess = own?.limits.guess !== undefined;
    if (own && sentAtMs < own.changedAtMs) return;
    const stated = statedLimits(headers);
    if (isGuess && !isSome(stated)) return;
    const isSilent = STATED_LIMITS.some(
      (name) => own?.limits[name] !== undefined && !mentionsLimit(headers, name),
    );
    if (own && isSuccess) own.silent = isSilent ? own.silent + 1 : 0;
    const believed = believe(own, stated);
    if (isSame(own?.limits, believed)) return;
    this.#change(id, believed);
    this.#tell(id);
  }

  /** Counts a call that goes to a provider whose limits nobody knows. */
  sent(key: string): void {
    const id = this.idOf(key);
    const learned = this.#learned.get(id)?.limits;
    if (!this.#isKnown(key, learned)) this.#acceptedOf(id).add(learned?.guess !== undefined);
  }

  /** Whether limits are configured, or stated by the provider; or nothing is to be learned. */
  #isKnown(key: string, learned: LearnedLimits | undefined): boolean {
    const { limits, learnLimits } = this.#options.settings;
    return !learnLimits || (!learned?.guess && isSome(learned)) || isSome(configuredBudget(limits, key));
  }

  /**
   * Learns from a refusal that names no time, of a provider that states no limits: how much it bears.
   * @param sentAtMs when the call was sent, by `performance.now()`
   * @returns how long its budget should wait, in milliseconds; undefined where the limits are known
   */
  async refused(key: string, sentAtMs: number): Promise<number | undefined> {
    const { store } = this.#options;
    const id = this.idOf(key);
    const own = this.#learned.get(id);
    if (this.#isKnown(key, own?.limits)) return undefined;
    const before = own?.limits.guess;
    const accepted = this.#acceptedOf(id);
    // What was sent before the last refusal is in the count from which the next one is concluded.
    if (sentAtMs >= (own?.refusedAtMs ?? 0)) accepted.takeBack(sentAtMs);
    if (before && isGivenUp(before, clockOf(store).now())) return undefined;
    // Sent before the whole fleet had heard of it.
    if (before && sentAtMs < (own?.refusedAtMs ?? 0) + pauseMsOf(before)) return pauseMsOf(before);
    const stored = (await readLearnedLimits(store)).get(id);
    if (stored?.guess && !isOfSameRefusal(stored.guess, before)) {
      this.#change(id, stored);
      return pauseMsOf(stored.guess);
    }
    const workers = Math.max(1, before ? 1 : (await readWorkerCards(store)).length);
    // What was given up is looked at anew.
    const known = before && rateOf(before) !== undefined ? before : undefined;
    const roughPerMinute = accepted.perSecond * workers * 60;
    const guess = afterRefusal(known, await accepted.tell(), accepted.seen, roughPerMinute);
    const limits = { rpm: rateOf(guess), guess };
    if (await writeLearnedLimits(store, id, limits)) {
      this.#change(id, limits);
      this.#say(id, limits);
    }
    return pauseMsOf(guess);
  }

  /** What was not refused for a while may be more. */
  async #raise(id: string, { rpm = 0 }: LearnedLimits, guess: Guess): Promise<void> {
    const accepted = this.#acceptedOf(id);
    const now = await accepted.tell();
    const ms = now.at - guess.raisedAt;
    if (ms < RAISE_MS || !accepted.isUsed(now, rpm)) return;
    const raised = held(guess, now.at, Math.min(ms, 2 * RAISE_MS));
    const rate = rateOf(raised) ?? rpm;
    const limits = { rpm: Math.abs(rate - rpm) < LEAST_CHANGE * rpm ? rpm : rate, guess: raised };
    if (await writeLearnedLimits(this.#options.store, id, limits)) this.#change(id, limits);
  }

  #acceptedOf(id: string): AcceptedCalls {
    const accepted = this.#accepted.get(id) ?? new AcceptedCalls(this.#options.store, id);
    this.#accepted.set(id, accepted);
    return accepted;
  }

  #change(id: string, limits: LearnedLimits): void {
    const before = this.#learned.get(id);
    const now = performance.now();
    const isOld = isOfSameRefusal(limits.guess, before?.limits.guess);
    const refusedAtMs = isOld ? (before?.refusedAtMs ?? now) : now;
    this.#learned.set(id, {
      ...{ limits, refusedAtMs, changedAtMs: now, silent: 0 },
      isTelling: before?.isTelling ?? false,
    });
    const keys = [...this.#inForce.keys()].filter((key) => this.idOf(key) === id);
    for (const key of keys) this.#inForce.set(key, this.#merge(key));
    this.#options.onChange(keys);
  }

  #tell(id: string): void {
    const learned = this.#learned.get(id);
    if (!learned || learned.isTelling) return;
    learned.isTelling = true;
    this.#write(id)
      .catch((error) =>
        this.#options.logger.warn({ budget: id, fault: (error as Error).message }, "limits were not shared"),
      )
      .finally(() => {
        const now = this.#learned.get(id);
        if (now) now.isTelling = false;
      });
  }

  /** Writes what was learned, one process at a time; who comes second writes only when the first wrote something else. */
  async #write(id: string): Promise<void> {
    const { store } = this.#options;
    for (;;) {
      const limits = this.#learned.get(id)?.limits ?? {};
      const stored = (await readLearnedLimits(store)).get(id);
      if (stored && isSame(stored, limits)) return;
      if (await writeLearnedLimits(store, id, limits)) {
        this.#say(id, limits);
      } else await delay(GUARD_MS / 5);
    }
  }

  #say(id: string, { guess, ...limits }: LearnedLimits): void {
    const concluded =
      limits.rpm === undefined
        ? "the provider refuses calls at any rate and states no limits: the fleet keeps to none"
        : "the provider refuses calls and states no limits: the fleet keeps to what it seems to bear per minute";
    const what = guess ? concluded : "the provider states these limits per minute";
    this.#options.logger.info({ budget: id, ...limits }, what);
    learnedChannel.publish({ budget: id, ...limits });
  }

  #merge(key: string): Budget | undefined {
    const configured = configuredBudget(this.#options.settings.limits, key);
    return budgetInForce(configured, this.#learned.get(this.idOf(key))?.limits);
  }
}

function believe(own: Learned | undefined, stated: StatedLimits): StatedLimits {
  const known = own?.limits.guess ? {} : (own?.limits ?? {});
  const isSettling = own !== undefined && performance.now() - own.changedAtMs < SETTLING_MS;
  const isForgotten = (own?.silent ?? 0) >= SILENT_ANSWERS;
  const believed: StatedLimits = {};
  for (const name of STATED_LIMITS) {
    const before = known[name];
    const after = stated[name] ?? (isForgotten ? undefined : before);
    const isHigher = before !== undefined && after !== undefined && after > before;
    if (after !== undefined) believed[name] = isHigher && isSettling ? before : after;
  }
  return believed;
}

function isSame(a: LearnedLimits = {}, b: LearnedLimits = {}): boolean {
  const isSameGuess = isOfSameRefusal(a.guess, b.guess) && a.guess?.raisedAt === b.guess?.raisedAt;
  return isSameGuess && STATED_LIMITS.every((name) => a[name] === b[name]);
}

function isOfSameRefusal(a: Guess | undefined, b: Guess | undefined): boolean {
  return a?.refusedAt === b?.refusedAt && a?.refusals === b?.refusals;
}

/** Whether there is a limit per minute. */
function isSome(limits: StatedLimits = {}): boolean {
  return STATED_LIMITS.some((name) => limits[name] !== undefined);
}
