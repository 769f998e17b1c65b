import { inject } from "vitest";

/** Random numbers from 0 to 1 that follow from a text and the run's seed. */
export function seededRandom(name: string): () => number {
  return randomFrom(`${name} ${inject("seed")}`);
}

/** Random numbers from 0 to 1 that follow from a text. */
export function randomFrom(text: string): () => number {
  let state = [...text].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) | 0, 7);
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** All of a list in `npm run test:full`; else `count` of it, drawn by the run's seed, in the list's order. */
export function sampleOf<T>(name: string, all: readonly T[], count: number): T[] {
  if (inject("isFull")) return [...all];
  const random = seededRandom(name);
  const drawn = all.map((one, place) => ({ one, place, lot: random() })).sort((a, b) => a.lot - b.lot);
  return drawn
    .slice(0, count)
    .sort((a, b) => a.place - b.place)
    .map(({ one }) => one);
}

/** How much of a long proof runs: the whole in `npm run test:full`, else so much of it. */
export function sizeOf(whole: number, sample: number): number {
  return inject("isFull") ? whole : sample;
}
