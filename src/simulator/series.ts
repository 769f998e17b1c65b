const SLOT_MS = 100;
/** Half an hour without a pause. */
const MAX_SLOTS = 18_000;

/** What happened in one slot. */
export interface SeriesSlot {
  /** Epoch milliseconds of its begin, a multiple of the slot's length. */
  at: number;
  accepted: number;
  /** Tokens charged, prompt and completion. */
  tokens: number;
  /** Refused by the limits. */
  rateLimited: number;
}

export interface SeriesSnapshot {
  slotMs: number;
  /** In order of time; slots in which nothing was accepted or refused are left out. */
  slots: SeriesSlot[];
}

/** The last half hour at least in slots of 100 ms, for plots. */
export class Series {
  #slots: SeriesSlot[] = [];

  /** The slot of an instant, to count in; instants never go back. */
  slot(epochMs: number): SeriesSlot {
    const at = Math.floor(epochMs / SLOT_MS) * SLOT_MS;
    const last = this.#slots.at(-1);
    if (last?.at === at) return last;
    const next = { at, accepted: 0, tokens: 0, rateLimited: 0 };
    this.#slots.push(next);
    if (this.#slots.length > MAX_SLOTS) this.#slots.shift();
    return next;
  }

  /** Slots that began at `sinceEpochMs` or later; the last one may still grow. */
  since(sinceEpochMs = 0): SeriesSnapshot {
    const slots = this.#slots.filter(({ at }) => at >= sinceEpochMs).map((slot) => ({ ...slot }));
    return { slotMs: SLOT_MS, slots };
  }
}
