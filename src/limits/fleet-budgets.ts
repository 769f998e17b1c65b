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
import { GUARD_MS, readLearnedLimits, writeLearnedLimits } from "../store/learned-limits.ts";
import type { Store } from "../store/store.ts";

/** After a change a higher limit is not believed for so long: a gateway may state those of several accounts in turn. */
const SETTLING_MS = 5000;
/** So many answers in a row that no longer mention a limit take it back. */
const SILENT_ANSWERS = 10;
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
  limits: StatedLimits;
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
  }

  /** Learns from the headers of an answer, also of a refusal. */
  observe(key: string, { headers, isSuccess, sentAtMs }: Omit<SeenHeaders, "model">): void {
    if (!this.#options.settings.learnLimits) return;
    const id = this.idOf(key);
    const own = this.#learned.get(id);
    if (own && sentAtMs < own.changedAtMs) return;
    const stated = statedLimits(headers);
    const isSilent = STATED_LIMITS.some(
      (name) => own?.limits[name] !== undefined && !mentionsLimit(headers, name),
    );
    if (own && isSuccess) own.silent = isSilent ? own.silent + 1 : 0;
    const believed = believe(own, stated);
    if (isSame(own?.limits, believed)) return;
    this.#change(id, believed);
    this.#tell(id);
  }

  #change(id: string, limits: StatedLimits): void {
    const { isTelling = false } = this.#learned.get(id) ?? {};
    this.#learned.set(id, { limits, changedAtMs: performance.now(), silent: 0, isTelling });
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
    const { store, logger } = this.#options;
    for (;;) {
      const limits = this.#learned.get(id)?.limits ?? {};
      const stored = (await readLearnedLimits(store)).get(id);
      if (stored && isSame(stored, limits)) return;
      if (await writeLearnedLimits(store, id, limits)) {
        logger.info({ budget: id, ...limits }, "the provider states these limits per minute");
        learnedChannel.publish({ budget: id, ...limits });
      } else await delay(GUARD_MS / 5);
    }
  }

  #merge(key: string): Budget | undefined {
    const configured = configuredBudget(this.#options.settings.limits, key);
    return budgetInForce(configured, this.#learned.get(this.idOf(key))?.limits);
  }
}

function believe(own: Learned | undefined, stated: StatedLimits): StatedLimits {
  const known = own?.limits ?? {};
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

function isSame(a: StatedLimits = {}, b: StatedLimits = {}): boolean {
  return STATED_LIMITS.every((name) => a[name] === b[name]);
}
