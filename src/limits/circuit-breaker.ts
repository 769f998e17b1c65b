import type { Redis } from "ioredis";
import { policyOf } from "../shared/error-policy.ts";
import { GlueError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { CircuitOpenError } from "../shared/unsent-errors.ts";
import { within } from "../shared/within.ts";
import {
  admitCall,
  type BreakerReply,
  endProbe,
  type ProbeEnd,
  reportCalls,
  WINDOW_SLOTS,
} from "../store/breaker.ts";
import { type Store, storeUnder } from "../store/store.ts";
import { publishTransition } from "./breaker-channel.ts";
import { breakerSettings, type CircuitBreakerSettings } from "./breaker-settings.ts";

/** Options of a circuit breaker. */
export interface CircuitBreakerOptions {
  /** A connection of the caller's own; it stays open. */
  redis: Redis;
  /** Head of all keys, with the hash tag: `{gluellm:default}`. */
  keyPrefix: string;
  settings?: Partial<CircuitBreakerSettings>;
  logger?: Logger;
  /**
   * Which rejections `run` counts against the provider; default: of this package's errors those that say that it is
   * down (5xx, network, timeout, overload), of any others all but those with an HTTP status of 4xx. The others count
   * neither way.
   */
  isFailure?: (error: unknown) => boolean;
}

/** What `admit` gave a call, and the call hands back with its result: so calls from before an opening are told from later ones. */
export interface AdmittedCall {
  isProbe: boolean;
  /** How often the breaker had opened when the call was admitted. */
  opened?: number;
  /** The probe's number. */
  probe?: number;
}

/** Whether a call may be made; if not, when to ask again. */
export type Admission = ({ isAllowed: true } & AdmittedCall) | { isAllowed: false; waitMs: number };

/** A process learns of a closing by a message that can get lost: nobody sleeps longer than this. */
const MAX_WAIT_MS = 1000;
const REPORT_MS = 1000;
/** A Redis that takes longer is away. */
const ANSWER_MS = 1000;

/** What this process knows of a key. */
interface View {
  openedAt: number;
  /** Until then, by `performance.now()`, failures while it is open are taken for the provider's. */
  excusesUntil: number;
  isDoubtful: boolean;
  testedAt: number;
  /** Undefined until Redis has answered once. */
  opened: number | undefined;
  /** Calls that ended well and are not reported yet. */
  successes: number;
  reportTimer: NodeJS.Timeout | undefined;
}

/**
 * A circuit breaker per key for a whole fleet (M. Nygard, Release It!, 2007). It opens when different requests fail too
 * often, or when there are failures and no success for a minute; then one call at a time, of the whole fleet, tests the
 * provider, and the first success closes it.
 *
 * While it is closed, calls cost no round trip: successes are reported once a second per key and process
 * (more often for windows under 10 s), failures at once. Their replies, and the message `<key>` on
 * `<keyPrefix>:events:breaker`, tell a process that others opened it. Successes are reported even when none of the
 * own calls failed: one process with a broken network would else open it for all. While Redis is away the
 * last known state stands, and nothing is counted.
 *
 * Keys: the hash `<keyPrefix>:breaker:<key>`, gone an hour after its last change. Diagnostics channel
 * `gluellm:breaker`: `BreakerTransition`.
 */
export class CircuitBreaker implements AsyncDisposable {
  readonly #options: CircuitBreakerOptions;
  readonly #store: Store;
  readonly #settings: CircuitBreakerSettings;
  readonly #views = new Map<string, View>();
  #isFaultLogged = false;

  /** @throws ConfigurationError when a setting is out of range */
  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
    this.#store = storeUnder(options.redis, options.keyPrefix);
    this.#settings = breakerSettings(options.settings);
  }

  /** Returns whether a call may be made. It never rejects, and takes at most a second when Redis does not answer. */
  async admit(key: string): Promise<Admission> {
    const view = this.#view(key);
    if (view.opened === undefined || view.openedAt) {
      const reply = await this.#ask(key, () => admitCall(this.#store, key, this.#settings.probeMs));
      if (reply?.hasChanged) {
        publishTransition(key, "half_open", reply);
        return { isAllowed: true, isProbe: true, opened: reply.opened, probe: reply.probe };
      }
      if (view.openedAt) {
        return { isAllowed: false, waitMs: Math.min(MAX_WAIT_MS, reply?.waitMs || MAX_WAIT_MS) };
      }
    }
    return { isAllowed: true, isProbe: false, opened: view.opened };
  }

  /** Counts a call that succeeded, and returns the state that the fleet is in now. */
  async succeeded(key: string, call?: AdmittedCall): Promise<"closed" | "open"> {
    if (call?.isProbe) return this.#endProbe(key, call, "succeeded");
    const view = this.#view(key);
    if (isCounted(view, call)) {
      view.successes++;
      view.reportTimer ??= setTimeout(() => void this.#report(key), this.#reportMs).unref();
    }
    return stateOf(view);
  }

  /**
   * Counts a call that failed by the provider's fault, and returns the state that the fleet is in now. `isRepeated`: the
   * same request failed before, so that the fault may be its own.
   */
  async failed(key: string, call?: AdmittedCall, { isRepeated = false } = {}): Promise<"closed" | "open"> {
    if (call?.isProbe) return this.#endProbe(key, call, "failed");
    const view = this.#view(key);
    if (!isCounted(view, call)) return stateOf(view);
    return this.#report(key, isRepeated ? { repeats: 1 } : { failures: 1 });
  }

  /** Ends a call that was not made, or says nothing of the provider: a probe gives its turn to the next at once. */
  async released(key: string, call: AdmittedCall): Promise<void> {
    if (call.isProbe) await this.#endProbe(key, call, "released");
  }

  /** Returns whether the breaker is open, as far as this process knows. */
  isOpen(key: string): boolean {
    return Boolean(this.#views.get(key)?.openedAt);
  }

  /**
   * Returns whether a call that failed is blamed on the provider rather than on its own request: the breaker is open, and
   * when only few different requests failed, not for too long yet.
   */
  excuses(key: string): boolean {
    const view = this.#views.get(key);
    return view !== undefined && view.openedAt > 0 && performance.now() < view.excusesUntil;
  }

  /**
   * Returns whether a failed call should be followed by one that cannot be at fault: only few different requests failed,
   * and none was wanted for `quietMs / 2`.
   */
  wantsTest(key: string): boolean {
    const view = this.#view(key);
    const now = performance.now();
    const isWanted = view.isDoubtful && this.excuses(key) && now - view.testedAt > this.#settings.quietMs / 2;
    if (isWanted) view.testedAt = now;
    return isWanted;
  }

  /** Learns the state that another process changed; `key` is the text of a message on `<keyPrefix>:events:breaker`. */
  async onMessage(key: string): Promise<void> {
    if (this.#views.has(key)) await this.#report(key);
  }

  /**
   * Calls `fn` when the breaker is closed, counts how it ends, and returns what it returns. `isRepeated`: the same
   * request failed before.
   *
   * @throws CircuitOpenError when the breaker is open; what `fn` throws
   */
  async run<T>(key: string, fn: () => Promise<T>, options: { isRepeated?: boolean } = {}): Promise<T> {
    const admission = await this.admit(key);
    if (!admission.isAllowed) throw new CircuitOpenError(key, admission.waitMs);
    let value: T;
    try {
      value = await fn();
    } catch (error) {
      const { isFailure = isProviderFailure } = this.#options;
      await (isFailure(error) ? this.failed(key, admission, options) : this.released(key, admission));
      throw error;
    }
    await this.succeeded(key, admission);
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const keys = [...this.#views].filter(([, view]) => view.reportTimer).map(([key]) => key);
    await Promise.all(keys.map((key) => this.#report(key)));
  }

  get #reportMs(): number {
    return Math.min(REPORT_MS, this.#settings.windowMs / WINDOW_SLOTS);
  }

  #view(key: string): View {
    const view = this.#views.get(key);
    if (view) return view;
    const unknown: View = {
      openedAt: 0,
      excusesUntil: 0,
      isDoubtful: false,
      testedAt: Number.NEGATIVE_INFINITY,
      opened: undefined,
      successes: 0,
      reportTimer: undefined,
    };
    this.#views.set(key, unknown);
    return unknown;
  }

  async #report(
    key: string,
    failed: { failures?: number; repeats?: number } = {},
  ): Promise<"closed" | "open"> {
    const view = this.#view(key);
    const { windowMs, minCalls, failureRate, cooldownMs, quietMs } = this.#settings;
    const { successes, opened } = view;
    clearTimeout(view.reportTimer);
    view.reportTimer = undefined;
    view.successes = 0;
    const counts = { failures: 0, repeats: 0, ...failed, successes, opened };
    const report = { ...counts, windowMs, minCalls, failureRate, cooldownMs, quietMs };
    const reply = await this.#ask(key, () => reportCalls(this.#store, key, report));
    if (reply?.hasChanged) publishTransition(key, "open", reply);
    return stateOf(view);
  }

  async #endProbe(
    key: string,
    { opened, probe }: AdmittedCall,
    outcome: ProbeEnd["outcome"],
  ): Promise<"closed" | "open"> {
    const { cooldownMs } = this.#settings;
    const end = { outcome, opened, probe, cooldownMs };
    const reply = await this.#ask(key, () => endProbe(this.#store, key, end));
    if (reply?.hasChanged) publishTransition(key, outcome === "succeeded" ? "closed" : "open", reply);
    return stateOf(this.#view(key));
  }

  /** Returns the state after a transition; undefined when Redis is away. An answer that comes too late for the caller is still taken over. */
  async #ask(key: string, transition: () => Promise<BreakerReply>): Promise<BreakerReply | undefined> {
    const { status } = this.#store.redis;
    // Commands that wait for a connection would pile up; `wait` is a lazy client that nobody has used yet.
    if (status !== "ready" && status !== "wait") return undefined;
    let reply: BreakerReply | undefined;
    const answered = transition().then((state) => {
      reply = state;
      this.#adopt(key, state);
    });
    await within(
      ANSWER_MS,
      answered.catch((error: Error) => this.#logFault(error)),
    );
    return reply;
  }

  #adopt(key: string, { now, openedAt, opened, failures, calls, isDoubtful }: BreakerReply): void {
    const view = this.#view(key);
    const { logger } = this.#options;
    this.#isFaultLogged = false;
    if (openedAt && openedAt !== view.openedAt) {
      logger?.warn({ key, failures, calls }, "provider fails; circuit breaker open, calls wait");
    } else if (view.openedAt && !openedAt) {
      logger?.info({ key, openMs: now - view.openedAt }, "circuit breaker closed; calls go on");
    }
    // Successes that were not reported yet came before it opened and closed again.
    if (opened !== view.opened) view.successes = 0;
    view.openedAt = openedAt;
    view.opened = opened;
    view.isDoubtful = isDoubtful;
    view.excusesUntil = isDoubtful
      ? performance.now() + openedAt + this.#settings.patienceMs - now
      : Number.POSITIVE_INFINITY;
  }

  #logFault({ message }: Error): void {
    const text = "circuit breaker cannot use Redis; its last state stands";
    if (!this.#isFaultLogged) this.#options.logger?.warn({ fault: message }, text);
    this.#isFaultLogged = true;
  }
}

function stateOf({ openedAt }: View): "closed" | "open" {
  return openedAt ? "open" : "closed";
}

/** Calls from before an opening say nothing of the provider as it is after it. */
function isCounted(view: View, call?: AdmittedCall): boolean {
  return !view.openedAt && (call?.opened ?? Number.POSITIVE_INFINITY) >= (view.opened ?? 0);
}

function isProviderFailure(error: unknown): boolean {
  if (error instanceof GlueError) return policyOf(error).provider === "down";
  const { status } = (error ?? {}) as { status?: unknown };
  return !(typeof status === "number" && status >= 400 && status < 500);
}
