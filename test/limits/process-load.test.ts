import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { ProcessLoad } from "../../src/limits/process-load.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { PROFILES } from "../../src/shared/profiles.ts";
import { outputOf } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";

const MEBIBYTE = 2 ** 20;
const profile = PROFILES.balanced;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Runs `program` with `load` in scope in a process with a small heap. @returns the lines it printed */
async function inSmallHeap(heapMb: number, memoryGuard: number, program: string): Promise<string[]> {
  const url = new URL("../../src/limits/process-load.ts", import.meta.url).href;
  const source = `
    import { constants, PerformanceObserver } from "node:perf_hooks";
    import { setTimeout as delay } from "node:timers/promises";
    import { ProcessLoad } from ${JSON.stringify(url)};
    const logger = { warn: (_, text) => console.log(text), info: (_, text) => console.log(text) };
    const load = new ProcessLoad({ profile: ${JSON.stringify({ ...profile, memoryGuard })}, logger });
    ${program}`;
  const args = [`--max-old-space-size=${heapMb}`, "--input-type=module", "--eval", source];
  return (await outputOf(process.execPath, args)).trim().split("\n");
}

test("a heap that fills up is told early, then low, before the process dies, and again when it is free", async () => {
  const lines = await inSmallHeap(
    64,
    profile.memoryGuard,
    `
    let hoard = [];
    while (!load.isMemoryLow) {
      for (let i = 0; i < 1000; i++) hoard.push(Array.from({ length: 100 }, (_, k) => k + 0.5));
      await delay(25);
    }
    console.log("low at", load.memoryShare);
    hoard = [];
    while (load.isMemoryLow) await delay(100);
    console.log("free at", load.memoryShare);
  `,
  );
  const [early, low, lowAt, over, freeAt] = lines;
  expect(early).toBe("memory use is high");
  expect(low).toBe("memory is short: taking no more jobs until it is below 77 %");
  expect(Number(lowAt?.replace("low at ", ""))).toBeGreaterThanOrEqual(0.8);
  expect(over).toBe("memory is enough again: taking jobs");
  expect(Number(freeAt?.replace("free at ", ""))).toBeLessThan(0.77);
  expect(lines).toHaveLength(5);
});

test("garbage is not memory in use, however fast it is made", async () => {
  const [heapMb, memoryGuard] = [128, 0.3];
  const lines = await inSmallHeap(
    heapMb,
    memoryGuard,
    `
    let kept = [];
    let [wasLow, mostBytes, collections] = [false, 0, 0];
    new PerformanceObserver((list) => {
      collections += list.getEntries().filter(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR).length;
    }).observe({ entryTypes: ["gc"] });
    while (collections < 5 || mostBytes <= ${memoryGuard * heapMb * MEBIBYTE}) {
      // It lives long enough to leave the space of new objects.
      if (kept.length > 20_000) kept = [];
      for (let i = 0; i < 2000; i++) kept.push({ text: "x".repeat(500) + i, numbers: [i, i, i] });
      await delay(0);
      mostBytes = Math.max(mostBytes, process.memoryUsage().heapUsed);
      wasLow ||= load.isMemoryLow;
    }
    console.log(wasLow ? "was low" : "was never low");
  `,
  );
  expect(lines.at(-1)).toBe("was never low");
});

test("resident memory counts against the container's limit, and every change is told", async () => {
  // Idle, V8 collects nothing, and what earlier files left would count.
  collectGarbage();
  const maxRssBytes = process.memoryUsage.rss() + 300 * MEBIBYTE;
  using load = new ProcessLoad({ profile: { ...profile, memoryGuard: 0.9 }, maxRssBytes });
  const told: unknown[] = [];
  const listen = (message: unknown) => told.push(message);
  load.onMemory(listen);
  subscribe("gluellm:memory", listen);
  try {
    let hoard = [Buffer.alloc(300 * MEBIBYTE, 1)];
    await waitFor("low memory", () => load.isMemoryLow);
    expect(told).toEqual([{ isLow: true, memoryShare: expect.any(Number) }, true]);
    expect(load.memoryShare).toBeGreaterThanOrEqual(0.9);
    hoard = [];
    await waitFor("enough memory", () => {
      collectGarbage();
      return hoard.length === 0 && !load.isMemoryLow;
    });
    expect(told.slice(2)).toEqual([{ isLow: false, memoryShare: expect.any(Number) }, false]);
  } finally {
    unsubscribe("gluellm:memory", listen);
  }
});

test("an event loop that is held up makes the process busy, a resting one does not", async () => {
  using load = new ProcessLoad({ profile, logger: createLogger({ level: "silent", json: true }) });
  await waitFor("a busy process", async () => {
    const until = performance.now() + 300;
    while (performance.now() < until);
    await turn();
    return load.isBusy;
  });
  await waitFor("rest", () => !load.isBusy && load.lagMs < profile.maxEventLoopLagMs);
});
