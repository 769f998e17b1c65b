import { budgetId } from "../shared/budget.ts";
import { type ErrorRecord, toErrorRecord } from "../shared/error-record.ts";
import type { Settings } from "../shared/settings.ts";
import { PausedError } from "../shared/unsent-errors.ts";
import { readModelStops } from "../store/batch.ts";
import { pauseIdsOf, readLongPause } from "../store/long-pause.ts";
import { clockOf } from "../store/redis-clock.ts";
import {
  convictRows,
  forgetRefused,
  type HeldRow,
  MAX_HELD,
  readRefused,
  stopModel,
} from "../store/refused-rows.ts";
import type { Store } from "../store/store.ts";
import type { StopReason } from "./batch-end.ts";
import type { NextRows } from "./next-rows.ts";
import type { Window } from "./window.ts";

const MAX_NAMED = 5;
const PAUSE_LOOK_MS = 1000;

/** Watches for models that the provider refuses, or pauses for too long, so that the rows of the others go on. */
export class ModelStops {
  readonly #store: Store;
  readonly #batchId: string;
  readonly #rows: NextRows;
  readonly #windows: readonly Window[];
  readonly #settings: Settings;
  readonly #begun = new Set<string>();
  readonly #pausesReadAt = new Map<string, number>();

  constructor(
    { store, rows, settings }: { store: Store; rows: NextRows; settings: Settings },
    batchId: string,
    windows: readonly Window[],
  ) {
    this.#store = store;
    this.#settings = settings;
    this.#batchId = batchId;
    this.#rows = rows;
    this.#windows = windows;
  }

  /**
   * Marks the windows whose rows are not to go on. Returns why the batch ends, once no known row is left that may.
   * `isScanned`: all rows of the input are known.
   */
  async look({ isScanned }: { isScanned: boolean }): Promise<StopReason | undefined> {
    const keys = this.#windows.map(({ model }) => model.key);
    for (const key of keys) await this.#begin(key);
    const stops = await readModelStops(this.#store, this.#batchId, keys);
    for (const window of this.#windows) {
      if (!window.stop) await this.#lookAt(window, stops.get(window.model.key), isScanned);
    }
    const reasons = this.#windows.flatMap(({ stop }) => stop ?? []);
    const [first] = reasons;
    const isWorkLeft = this.#windows.some((window) => !window.stop && this.#missing(window) > 0);
    if (!first || isWorkLeft) return undefined;
    const message = reasons.map(({ error }) => error.message).join("; ");
    return { ...first, error: { ...first.error, message } };
  }

  /** Forgets what an earlier run of the batch left of a model. */
  async #begin(key: string): Promise<void> {
    if (this.#begun.has(key)) return;
    await forgetRefused(this.#store, key, this.#batchId);
    this.#begun.add(key);
  }

  async #lookAt(window: Window, stop: ErrorRecord | undefined, isScanned: boolean): Promise<void> {
    const missing = this.#missing(window);
    if (missing > 0) window.stop = await this.#tooLongPause(window);
    if (window.stop) return;
    if (!stop && (missing === 0 || missing >= MAX_HELD)) return;
    const { key } = window.model;
    const rows = await readRefused(this.#store, key, this.#batchId);
    const held = rows.filter(({ answered }) => answered !== "after");
    if (stop) {
      window.stop = reasonOf(window, stop, held);
      return;
    }
    const [first] = held;
    if (!first || held.length < missing || !isScanned) return;
    // Nothing of the model is left that could bring more evidence: the weak kind has to do.
    const weak = held.filter(({ answered }) => answered === "beside");
    if (weak.length > 0) return convictRows(this.#store, key, weak);
    await stopModel(this.#store, this.#batchId, key, first.refusal);
    const { error } = first.refusal;
    const hint = [error.hint, "if other calls work, correct these rows, or take them out of the input"];
    window.stop = reasonOf(window, { ...error, hint: hint.filter(Boolean).join("; ") }, held);
  }

  /** A pause that outlasts rows in flight would fail them at their deadlines, one after the other. */
  async #tooLongPause({ model: { key }, rows }: Window): Promise<StopReason | undefined> {
    const now = clockOf(this.#store).now();
    const isDue = now - (this.#pausesReadAt.get(key) ?? 0) > PAUSE_LOOK_MS;
    if (!isDue || rows.size === 0) return undefined;
    this.#pausesReadAt.set(key, now);
    const ids = pauseIdsOf(budgetId(this.#settings.limits, key), key);
    const pause = await readLongPause(this.#store, ids);
    if (!pause) return undefined;
    const firstDeadline = Math.min(...[...rows.values()].map(({ deadlineAt }) => deadlineAt));
    if (pause.until <= firstDeadline) return undefined;
    const error = new PausedError(key, pause, pause.until - now);
    const message = `${error.message}, which is longer than its rows may wait`;
    return { error: { ...toErrorRecord(error), message, hint: "run the same command again then" } };
  }

  #missing({ model }: Window): number {
    return this.#rows.missing(model);
  }
}

function reasonOf({ model, rows }: Window, error: ErrorRecord, held: readonly HeldRow[]): StopReason {
  const known = held.flatMap(({ jobId }) => rows.get(jobId) ?? []).sort((a, b) => a.line - b.line);
  const names = known.map(({ customId, line }) => `"${customId}" (line ${line})`);
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : "";
  const refused = `${model.key} refused ${names.slice(0, MAX_NAMED).join(", ")}${more}`;
  const message = names.length > 0 ? `${error.message}; ${refused}` : error.message;
  return { error: { ...error, message }, providerMessage: held[0]?.refusal.providerMessage };
}
