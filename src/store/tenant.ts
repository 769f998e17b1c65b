import { z } from "zod";
import { InputError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import type { Budget } from "../shared/limits-setting.ts";
import { DEFAULT_TENANT, tenantSchema } from "../shared/tenant.ts";
import { type PeriodLedger, type PeriodLimits, periodLedgers } from "./period-ledger.ts";
import type { Store } from "./store.ts";
import { notify } from "./topics.ts";

/*
 * What operators say of tenants: the hash `:tenants`, a tenant's name → JSON of its settings. One that is not in it has no limits
 * and the usual weight. Processes read it every few seconds, and at once when it changes. Settings that are damaged hold for
 * nobody: what a process knew of their tenant stands, and `saveTenant` writes them anew.
 */

const count = z.number().int().positive().max(1e9);
const daysUpTo = (max: number) => z.number().min(0.01).max(max).optional();
/** Nothing of these stays longer in Redis by itself. */
const MAX_REDIS_DAYS = 30;
const MAX_HISTORY_DAYS = 3650;
/** Settings of a tenant, to be checked. */
export const tenantSettingsSchema = z.object({
  weight: z.number().min(0.01).max(1000).optional(),
  rpm: z.number().positive().max(1e9).optional(),
  tpm: z.number().positive().max(1e12).optional(),
  maxInFlight: count.optional(),
  maxQueuedJobs: count.optional(),
  maxCostUsdPerDay: z.number().positive().optional(),
  maxCostUsdPerMonth: z.number().positive().optional(),
  resultDays: daysUpTo(MAX_REDIS_DAYS),
  failedDays: daysUpTo(MAX_REDIS_DAYS),
  conversationDays: daysUpTo(MAX_REDIS_DAYS),
  runDays: daysUpTo(MAX_REDIS_DAYS),
  historyDays: daysUpTo(MAX_HISTORY_DAYS),
  historyContentDays: daysUpTo(MAX_HISTORY_DAYS),
  historyMaxRows: count.optional(),
});

/** Settings of a tenant; absent: no limit. */
export interface TenantSettings extends PeriodLimits {
  /** Its part of a queue in which others wait too, beside theirs: 0.01 to 1000, default 1. */
  weight?: number | undefined;
  /** Provider calls, and their tokens, per minute, over all models. */
  rpm?: number | undefined;
  tpm?: number | undefined;
  /** Provider calls at a time. */
  maxInFlight?: number | undefined;
  /** Jobs that wait or run, without rows of batches. */
  maxQueuedJobs?: number | undefined;
  /**
   * How long results of single calls stay in Redis, failed jobs with their results, conversations, and runs: where it is less than
   * the settings of all say.
   */
  resultDays?: number | undefined;
  failedDays?: number | undefined;
  conversationDays?: number | undefined;
  runDays?: number | undefined;
  /** How long rows of the history stay, and their prompts, answers and error messages, instead of what the settings of all say. */
  historyDays?: number | undefined;
  historyContentDays?: number | undefined;
  /** The most rows that each table of the history has of it. */
  historyMaxRows?: number | undefined;
}

/** The message of the topic `limits` that says that settings of tenants have changed. */
export const TENANTS_CHANGED = "@tenants";

/**
 * Changes settings of a tenant: those that are `null` go, those that are not named stay. Returns what it has now.
 * @throws InputError naming what is wrong
 */
export async function saveTenant(
  store: Store,
  name: string,
  change: { [Name in keyof TenantSettings]?: TenantSettings[Name] | null },
): Promise<TenantSettings> {
  const { redis, keys } = store;
  const tenant = tenantSchema.safeParse(name);
  if (!tenant.success) throw new InputError(`the tenant's name ${tenant.error.issues[0]?.message}`);
  const before = readTenant(await redis.hget(keys.tenants, name));
  const given = Object.entries({ ...before, ...change }).filter(([, value]) => value !== null);
  const settings = tenantSettingsSchema.safeParse(Object.fromEntries(given));
  if (!settings.success) {
    const [issue] = settings.error.issues;
    throw new InputError(`${issue?.path.join(".")} of tenant ${name} is wrong: ${issue?.message}`);
  }
  const { historyDays, historyContentDays } = settings.data;
  if (historyDays !== undefined && (historyContentDays ?? 0) > historyDays)
    throw new InputError(
      `historyContentDays of tenant ${name} is wrong: ${historyContentDays} is more than its historyDays, ${historyDays}`,
      "contents go with their rows at the latest",
    );
  await redis.hset(keys.tenants, name, JSON.stringify(settings.data));
  await notify(store, "limits", TENANTS_CHANGED);
  return settings.data;
}

/** Returns the settings of every tenant that has some, by its name; undefined where they are damaged. */
export async function listTenants({
  redis,
  keys,
}: Store): Promise<Map<string, Readonly<TenantSettings> | undefined>> {
  const stored = Object.entries(await redis.hgetall(keys.tenants));
  return new Map(stored.sort().map(([name, text]) => [name, readTenant(text)]));
}

/** Returns the settings of a tenant; none where they are damaged. */
export async function readTenantSettings({ redis, keys }: Store, tenant: string): Promise<TenantSettings> {
  return readTenant(await redis.hget(keys.tenants, tenant)) ?? {};
}

/** What to do about settings that are damaged. */
export function damagedHint(tenant: string): string {
  return `its stored settings are damaged and do not hold: gluellm tenants set ${tenant} writes them anew, gluellm tenants remove ${tenant} forgets them`;
}

/** Forgets what was said of a tenant; returns whether anything was. Its jobs stay. */
export async function removeTenant(store: Store, name: string): Promise<boolean> {
  const isRemoved = (await store.redis.hdel(store.keys.tenants, name)) === 1;
  await notify(store, "limits", TENANTS_CHANGED);
  return isRemoved;
}

function readTenant(text: string | null): TenantSettings | undefined {
  return text === null ? {} : tenantSettingsSchema.safeParse(parseJson(text)).data;
}

/** How old what a process knows may be where nothing tells it of changes. */
const FRESH_MS = 5000;

/** The settings of tenants as a process knows them. */
export class KnownTenants {
  readonly #store: Store;
  #settings: ReadonlyMap<string, TenantSettings> = new Map();
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<unknown> | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Returns what is known of a tenant. */
  of(tenant: string = DEFAULT_TENANT): TenantSettings {
    return this.#settings.get(tenant) ?? {};
  }

  /** Returns the same, at most 5 s old. A tenant whose settings cannot be read keeps those that were known. */
  async fresh(tenant?: string): Promise<TenantSettings> {
    if (performance.now() - this.#readAt > FRESH_MS) {
      this.#reading ??= this.read().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
    return this.of(tenant);
  }

  /** Reads all anew; returns the names of those that were or are known. */
  async read(): Promise<Set<string>> {
    const known = this.#settings;
    const read = await listTenants(this.#store).catch(() => known);
    this.#settings = new Map([...read].map(([name, settings]) => [name, settings ?? known.get(name) ?? {}]));
    this.#readAt = performance.now();
    return new Set([...known.keys(), ...this.#settings.keys()]);
  }

  /** Returns the ledgers of a tenant's cost limits; those of the present day and month begin here. */
  async ledgers(tenant: string = DEFAULT_TENANT): Promise<PeriodLedger[]> {
    return periodLedgers(this.#store, this.of(tenant), (period) =>
      this.#store.keys.tenantPeriod(tenant, period),
    );
  }
}

const KEY_HEAD = "@tenant:";

/** Returns the key under which the rate limiter knows a tenant; no model's is like it. */
export function tenantBudgetKey(tenant: string = DEFAULT_TENANT): string {
  return `${KEY_HEAD}${tenant}`;
}

/** Returns the budget of a key of `tenantBudgetKey`; undefined for a tenant without one. */
export function tenantBudget(tenants: KnownTenants, key: string): Budget | undefined {
  const { rpm, tpm, maxInFlight } = tenants.of(key.slice(KEY_HEAD.length));
  return rpm === undefined && tpm === undefined && maxInFlight === undefined
    ? undefined
    : { rpm, tpm, maxInFlight };
}

/** Returns whether a key of the rate limiter is a tenant's. */
export function isTenantKey(key: string): boolean {
  return key.startsWith(KEY_HEAD);
}
