import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/*
 * On a machine with much memory V8 lets new objects take 128 MB and old ones grow to several times what lives, so that a process of ours
 * holds 500 MB of which 40 live. Both are bounded while the process runs, since a published command gets no flags at its start.
 */

/** Two halves of 8 MiB: what fifty calls in flight hold dies there, and is not taken for old. */
const NEW_SPACE_BYTES = 16 * 2 ** 20;
const GROWTH = { first: 8, none: 1 };
/** Old objects are collected when they take half as much again as what lived the last time. */
const OLD_GROWTH_PERCENT = 50;
/** More than the first half holds, in parts that V8 still takes for new. */
const FILL = { parts: 64, length: 4096 };

/** Keeps V8's heap from growing far beyond what lives in it. Called before anything large is loaded. */
export function boundHeap(): void {
  setFlagsFromString(`--heap-growing-percent=${OLD_GROWTH_PERCENT}`);
  setFlagsFromString(`--semi-space-growth-factor=${GROWTH.none}`);
}

/**
 * Gives new objects their whole space, 16 MiB, after `boundHeap`. It takes about 20 ms, which a command that only tells something need not
 * spend. V8 makes the space larger only when what it holds lives on, so it is filled once. A smaller `--max-semi-space-size` holds.
 */
export function widenNewSpace(): void {
  setFlagsFromString(`--semi-space-growth-factor=${GROWTH.first}`);
  const kept: number[][] = [];
  while (kept.length < FILL.parts && newSpaceBytes() < NEW_SPACE_BYTES)
    kept.push(new Array(FILL.length).fill(0));
  boundHeap();
}

function newSpaceBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")?.space_size ?? 0;
}
