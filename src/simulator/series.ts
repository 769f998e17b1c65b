const SLOT_MS = 100;
/** The most slots kept: half an hour without a pause. */
const MAX_SLOTS = 18_000;

/** What happened in one slot. */
export interface SeriesSlot {
  /** The begin in epoch milliseconds, a multiple of the slot's length. */
  at: number;
  accepted: number;
  /** Tokens charged, prompt and completion. */
  tokens: number;
  /** Calls refused by the limits. */
  rateLimited: number;
}

/** The slots of a time. */
export interface SeriesSnapshot {
  slotMs: number;
  /** The slots in order of time; those in which nothing was accepted or refused are left out. */
  slots: SeriesSlot[];
}

/** Counts in slots of 100 ms, of the last half hour at least, for plots. */
export class Series {
  #slots: SeriesSlot[] = [];

  /** Returns the slot of an instant, to count in; instants never go back. */
  slot(epochMs: number): SeriesSlot {
    const at = Math.floor(epochMs / SLOT_MS) * SLOT_MS;
    const last = this.#slots.at(-1);
    if (last?.at === at) return last;
    const next = { at, accepted: 0, tokens: 0, rateLimited: 0 };
    this.#slots.push(next);
    if (this.#slots.length > MAX_SLOTS) this.#slots.shift();
    return next;
  }

  /** Returns the slots that began at `sinceEpochMs` or later; the last one may still grow. */
  since(sinceEpochMs = 0): SeriesSnapshot {
    const slots = this.#slots.filter(({ at }) => at >= sinceEpochMs).map((slot) => ({ ...slot }));
    return { slotMs: SLOT_MS, slots };
  }
}
