/** A rate is of this long, so that it follows a pause or a resume. */
const WINDOW_MS = 10_000;

/** How fast a count grows. */
export class Rate {
  readonly #samples: { at: number; count: number }[] = [];

  /** Takes the count of now and returns its growth per second. */
  add(count: number): number {
    const now = Date.now();
    this.#samples.push({ at: now, count });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    return first && now > first.at ? Math.max(0, ((count - first.count) / (now - first.at)) * 1000) : 0;
  }
}
