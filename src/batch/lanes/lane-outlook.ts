import { hasBatches } from "../../providers/batches/create-batches.ts";
import { hasFlex } from "../../providers/flex.ts";
import { limitsOf, type StatedLimits } from "../../shared/budget.ts";
import { aliasOf } from "../../shared/deployments.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import { readDurations } from "../../store/lane-durations.ts";
import { readLearnedLimits } from "../../store/learned-limits.ts";
import type { Store } from "../../store/store.ts";
import { buysBatch, type LaneOptions, switchAt } from "./lane-plan.ts";

/** Requests per minute that an account is taken to let through where nobody knows. */
const UNKNOWN_RPM = 300;

/** What is expected of a batch's lanes now: which may be in time, and when the rest has to go online. */
export class LaneOutlook {
  readonly #store: Store;
  readonly #settings: Settings;
  readonly #lanes: LaneOptions | undefined;
  readonly #spanMs: number;
  /** Models whose provider takes no batches, and why. */
  readonly #closed = new Map<string, string>();
  readonly #durations = new Map<string, number[]>();
  #learned = new Map<string, StatedLimits>();
  #onlineAtMs = Number.POSITIVE_INFINITY;
  /** What the tier flex has between the end of provider batches and the time to go online. */
  #flexMs = 0;

  constructor(store: Store, settings: Settings, lanes: LaneOptions | undefined) {
    this.#store = store;
    this.#settings = settings;
    this.#lanes = lanes;
    this.#spanMs = lanes ? Math.max(0, lanes.byMs - Date.now()) : 0;
  }

  /** Whether the rows left have to go online. */
  get isOnline(): boolean {
    return Date.now() >= this.#onlineAtMs;
  }

  /** When the rows left go online, in epoch milliseconds. */
  get onlineAtMs(): number {
    return this.#onlineAtMs;
  }

  /** Whether provider batches of the model have to end now: their rows go another way. */
  isLate(model: ModelRef): boolean {
    return Date.now() >= this.batchEndsAt(model);
  }

  /** Returns until when a row is asked for in the tier flex, in epoch milliseconds; undefined where it is not. */
  flexUntil(model: ModelRef): number | undefined {
    return this.#hasFlex(model) && !this.isOnline ? this.#onlineAtMs : undefined;
  }

  /** Reads what the fleet knows of the models. */
  async learn(models: readonly ModelRef[]): Promise<void> {
    this.#learned = await readLearnedLimits(this.#store);
    for (const { key } of models)
      if (!this.#durations.has(key)) this.#durations.set(key, await readDurations(this.#store, key));
  }

  /** What is known of a model's provider batches has changed. */
  relearn(modelKey: string): void {
    this.#durations.delete(modelKey);
  }

  /** The provider takes no batches of the model, for the reason given. */
  close(modelKey: string, reason: string): void {
    this.#closed.set(modelKey, reason);
  }

  /** Finds anew when the rows left have to go online. */
  turn(models: readonly ModelRef[], missing: number): void {
    if (!this.#lanes) return;
    const pace = { rows: missing, rowsPerSecond: this.#rowsPerSecond(models) };
    const { byMs } = this.#lanes;
    const leastMs = this.#settings.laneReserveMs;
    this.#onlineAtMs = switchAt(byMs, { ...pace, leastMs, spanMs: this.#spanMs });
    this.#flexMs = byMs - this.#onlineAtMs;
  }

  /** Whether rows of the model may be bought in a provider batch now. */
  wants(model: ModelRef): boolean {
    if (!this.#lanes?.lanes.includes("batch")) return false;
    return this.whyNot(model) === undefined;
  }

  /** Returns why no row of the model may be bought in a provider batch now. */
  whyNot(model: ModelRef): string | undefined {
    const entry = this.#settings.providers[model.entry];
    const reason = this.#closed.get(model.key);
    if (reason !== undefined) return reason;
    if (!entry || !hasBatches(entry)) return `${model.entry} has no provider batches`;
    // A host of the API may have no keys: then its rows go to the workers, which have them.
    if (!entry.apiKey && !entry.keyOptional) return `this process has no key of ${model.entry}`;
    const seen = this.#durations.get(model.key);
    const plan = { endsAtMs: this.batchEndsAt(model), hasFlex: this.#hasFlex(model) };
    // Until it is read how long they take, the row waits.
    if (seen === undefined || buysBatch(Date.now(), plan, seen)) return undefined;
    return "no provider batch may be done in time";
  }

  /** Returns when provider batches of the model have to end, in epoch milliseconds. */
  batchEndsAt(model: ModelRef): number {
    return this.#hasFlex(model) ? this.#onlineAtMs - this.#flexMs : this.#onlineAtMs;
  }

  /** Of a name of deployments the worker knows, which calls one of them. */
  #hasFlex(model: ModelRef): boolean {
    const entry = this.#settings.providers[model.entry];
    const mayHave = aliasOf(model) !== undefined || (entry !== undefined && hasFlex(entry));
    return mayHave && this.#lanes?.lanes.includes("flex") === true;
  }

  /** Returns how many rows a second the account's limits let through online, as far as they are known. */
  #rowsPerSecond(models: readonly ModelRef[]): number {
    const { limits } = this.#settings;
    const ofModel = ({ key }: ModelRef) =>
      (limitsOf(limits, this.#learned, key).rpm?.perMinute ?? UNKNOWN_RPM) / 60;
    return models.reduce((sum, model) => sum + ofModel(model), 0);
  }
}
