import { channel } from "node:diagnostics_channel";
import type { Redis } from "ioredis";
import {
  budgetId,
  budgetInForce,
  configuredBudget,
  STATED_LIMITS,
  type StatedLimits,
} from "../shared/budget.ts";
import { readLearnedLimits, writeLearnedLimits } from "../shared/learned-limits.ts";
import type { Budget } from "../shared/limits-setting.ts";
import type { Logger } from "../shared/logger.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";
import type { Settings } from "../shared/settings.ts";
import { statedLimits } from "./providers/limit-headers.ts";

const GUARD_MS = 500;
/** After a change a higher limit is not believed for so long: a gateway may state those of several accounts in turn. */
const SETTLING_MS = 5000;
/** So many answers in a row that no longer state a limit take it back. */
const SILENT_ANSWERS = 10;
const learnedChannel = channel("gluellm:limits");

interface FleetBudgetsOptions {
  redis: Redis;
  keys: RedisKeys;
  settings: Pick<Settings, "limits" | "learnLimits">;
  logger: Logger;
  /** The budgets of these keys are others now. */
  onChange: (keys: string[]) => void;
}

/**
 * The budget in force of every key: what is configured, and what the providers' answers state. One process writes
 * what changed for the fleet, and all follow it. Diagnostics channel `gluellm:limits`: `{budget, ...limits}`.
 */
export class FleetBudgets {
  readonly #options: FleetBudgetsOptions;
  #stated = new Map<string, StatedLimits>();
  /** Answers to calls that were sent before say what was true before. */
  readonly #changedAtMs = new Map<string, number>();
  /** Answers in a row that lacked a limit that is known. */
  readonly #silent = new Map<string, number>();
  readonly #inForce = new Map<string, Budget | undefined>();

  constructor(options: FleetBudgetsOptions) {
    this.#options = options;
  }

  of = (key: string): Budget | undefined => {
    if (!this.#inForce.has(key)) this.#inForce.set(key, this.#merge(key));
    return this.#inForce.get(key);
  };

  idOf(key: string): string {
    return budgetId(this.#options.settings.limits, key);
  }

  /** Takes over what the fleet knows: at the start, and when another process has learned something. */
  async read(): Promise<void> {
    const { redis, keys, settings } = this.#options;
    if (!settings.learnLimits) return;
    const known = this.#stated;
    this.#stated = await readLearnedLimits(redis, keys);
    for (const id of new Set([...known.keys(), ...this.#stated.keys()])) {
      if (!isSame(known.get(id), this.#stated.get(id))) this.#changed(id);
    }
  }

  /** Learns from the headers of an answer, also of a refusal. */
  observe(key: string, headers: Headers, sentAtMs: number): void {
    if (!this.#options.settings.learnLimits) return;
    const stated = statedLimits(headers);
    const id = this.idOf(key);
    if (sentAtMs < (this.#changedAtMs.get(id) ?? 0)) return;
    const known = this.#stated.get(id);
    const believed = this.#believe(id, known ?? {}, stated);
    if (isSame(known, believed)) return;
    this.#stated.set(id, believed);
    this.#changed(id);
    this.#tell(id).catch((error) =>
      this.#options.logger.warn({ budget: id, fault: (error as Error).message }, "limits were not shared"),
    );
  }

  #believe(id: string, known: StatedLimits, stated: StatedLimits): StatedLimits {
    const isSilent = STATED_LIMITS.some((name) => known[name] !== undefined && stated[name] === undefined);
    const silent = isSilent ? (this.#silent.get(id) ?? 0) + 1 : 0;
    this.#silent.set(id, silent);
    const believed = silent >= SILENT_ANSWERS ? { ...stated } : { ...known, ...stated };
    const isSettling =
      performance.now() - (this.#changedAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < SETTLING_MS;
    for (const name of STATED_LIMITS) {
      const before = known[name];
      if (isSettling && before !== undefined && (believed[name] ?? 0) > before) believed[name] = before;
    }
    return believed;
  }

  async #tell(id: string): Promise<void> {
    const { redis, keys, logger } = this.#options;
    const guard = `${keys.learnedLimits}:guard:${id}`;
    if (!(await redis.set(guard, "1", "PX", GUARD_MS, "NX"))) return;
    const limits = this.#stated.get(id) ?? {};
    await writeLearnedLimits(redis, keys, id, limits);
    logger.info({ budget: id, ...limits }, "the provider states these limits per minute");
    learnedChannel.publish({ budget: id, ...limits });
  }

  #changed(id: string): void {
    this.#changedAtMs.set(id, performance.now());
    const keys = [...this.#inForce.keys()].filter((key) => this.idOf(key) === id);
    for (const key of keys) this.#inForce.set(key, this.#merge(key));
    this.#options.onChange(keys);
  }

  #merge(key: string): Budget | undefined {
    return budgetInForce(
      configuredBudget(this.#options.settings.limits, key),
      this.#stated.get(this.idOf(key)),
    );
  }
}

function isSame(a: StatedLimits = {}, b: StatedLimits = {}): boolean {
  return STATED_LIMITS.every((name) => a[name] === b[name]);
}
