import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { ProcessLoad } from "../../src/limits/process-load.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { PROFILES } from "../../src/shared/profiles.ts";
import { outputOf } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";

const MEBIBYTE = 2 ** 20;
const profile = PROFILES.balanced;

interface OwnProcess {
  memoryGuard: number;
  /** Of old objects. */
  heapMb?: number;
  maxRssMb?: number;
}

/** Runs `program` with `load` in scope in a process whose memory is its own. @returns the lines it printed */
async function inOwnProcess(limits: OwnProcess, program: string): Promise<string[]> {
  const { memoryGuard, heapMb, maxRssMb } = limits;
  const url = new URL("../../src/limits/process-load.ts", import.meta.url).href;
  const options = {
    profile: { ...profile, memoryGuard },
    ...(maxRssMb !== undefined && { maxRssBytes: maxRssMb * MEBIBYTE }),
  };
  const source = `
    import { subscribe } from "node:diagnostics_channel";
    import { constants, PerformanceObserver } from "node:perf_hooks";
    import { setTimeout as delay } from "node:timers/promises";
    import { ProcessLoad } from ${JSON.stringify(url)};
    const logger = { warn: (_, text) => console.log(text), info: (_, text) => console.log(text) };
    const load = new ProcessLoad({ ...${JSON.stringify(options)}, logger });
    ${program}`;
  const heap = heapMb === undefined ? [] : [`--max-old-space-size=${heapMb}`];
  const args = [...heap, "--input-type=module", "--eval", source];
  return (await outputOf(process.execPath, args)).trim().split("\n");
}

test("a heap that fills up is told early, then low, before the process dies, and again when it is free", async () => {
  const lines = await inOwnProcess(
    { memoryGuard: profile.memoryGuard, heapMb: 64 },
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
  const lines = await inOwnProcess(
    { memoryGuard, heapMb },
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

test("resident memory counts against the container's limit, and every change is told", {
  tags: "long",
}, async () => {
  const lines = await inOwnProcess(
    { memoryGuard: 0.9, maxRssMb: 400 },
    `
    const told = [];
    load.onMemory((isLow) => told.push(isLow));
    subscribe("gluellm:memory", (message) => told.push(message));
    let hoard = [];
    // The heap has room for nothing of this: buffers are outside of it.
    while (!load.isMemoryLow) {
      if (process.memoryUsage.rss() < 500 * ${MEBIBYTE}) hoard.push(Buffer.alloc(10 * ${MEBIBYTE}, 1));
      await delay(25);
    }
    console.log(JSON.stringify({ share: load.memoryShare, told: told.splice(0) }));
    hoard = [];
    while (load.isMemoryLow) await delay(25);
    console.log(JSON.stringify({ share: load.memoryShare, told: told.splice(0) }));
  `,
  );
  const [low, free] = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const high = expect.toSatisfy((share) => share >= 0.9);
  const fair = expect.toSatisfy((share) => share < 0.87);
  expect(low).toEqual({ share: high, told: [{ isLow: true, memoryShare: high }, true] });
  expect(free).toEqual({ share: fair, told: [{ isLow: false, memoryShare: fair }, false] });
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
