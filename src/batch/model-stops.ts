import type { ErrorRecord } from "../shared/error-record.ts";
import { readModelStops } from "../store/batch.ts";
import {
  convictRows,
  forgetRefused,
  type HeldRow,
  MAX_HELD,
  readRefused,
  stopModel,
} from "../store/refused-rows.ts";
import type { Store } from "../store/store.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { Window } from "./window.ts";

const MAX_NAMED = 5;

/** Why rows of a batch are not sent, and what the provider said of them. */
export interface StopReason {
  error: ErrorRecord;
  providerMessage?: string | undefined;
}

/** Watches for models that the provider refuses, so that the rows of the others go on. */
export class ModelStops {
  readonly #store: Store;
  readonly #batchId: string;
  readonly #index: DiskIndex;
  readonly #windows: readonly Window[];

  constructor(store: Store, batchId: string, index: DiskIndex, windows: readonly Window[]) {
    this.#store = store;
    this.#batchId = batchId;
    this.#index = index;
    this.#windows = windows;
  }

  /** Forgets what an earlier run of the batch left. */
  async begin(): Promise<void> {
    for (const { model } of this.#windows) await forgetRefused(this.#store, model.key, this.#batchId);
  }

  /**
   * Marks the windows whose rows are not to go on. Returns why the batch ends, once no row is left that may.
   */
  async look(): Promise<StopReason | undefined> {
    const keys = this.#windows.map(({ model }) => model.key);
    const stops = await readModelStops(this.#store, this.#batchId, keys);
    for (const window of this.#windows) {
      if (!window.stop) await this.#lookAt(window, stops.get(window.model.key));
    }
    const reasons = this.#windows.flatMap(({ stop }) => stop ?? []);
    const [first] = reasons;
    const isWorkLeft = this.#windows.some((window) => !window.stop && this.#missing(window) > 0);
    if (!first || isWorkLeft) return undefined;
    const message = reasons.map(({ error }) => error.message).join("; ");
    return { ...first, error: { ...first.error, message } };
  }

  async #lookAt(window: Window, stop: ErrorRecord | undefined): Promise<void> {
    const missing = this.#missing(window);
    if (!stop && (missing === 0 || missing >= MAX_HELD)) return;
    const { key } = window.model;
    const rows = await readRefused(this.#store, key, this.#batchId);
    const held = rows.filter(({ answered }) => answered !== "after");
    if (stop) {
      window.stop = reasonOf(window, stop, held);
      return;
    }
    const [first] = held;
    if (!first || held.length < missing) return;
    // Nothing of the model is left that could bring more evidence: the weak kind has to do.
    const weak = held.filter(({ answered }) => answered === "beside");
    if (weak.length > 0) return convictRows(this.#store, key, weak);
    await stopModel(this.#store, this.#batchId, key, first.refusal);
    window.stop = reasonOf(window, first.refusal.error, held);
  }

  #missing({ model }: Window): number {
    return this.#index.counts().models.get(model.key)?.missing ?? 0;
  }
}

function reasonOf({ model, rows }: Window, error: ErrorRecord, held: readonly HeldRow[]): StopReason {
  const names = held.flatMap(({ jobId }) => {
    const row = rows.get(jobId);
    return row ? `"${row.customId}" (line ${row.line})` : [];
  });
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : "";
  const refused = `${model.key} refused ${names.slice(0, MAX_NAMED).join(", ")}${more}`;
  const message = names.length > 0 ? `${error.message}; ${refused}` : error.message;
  return { error: { ...error, message }, providerMessage: held[0]?.refusal.providerMessage };
}
