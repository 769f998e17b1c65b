import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { type MemoryFigures, memoryContext } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

test("memory over a span of work: its growth is told, and warned of where it is too much, also when the work fails", async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({ level: "debug", json: true });
  const note = (level: string) => (line: object) => void lines.push({ level, ...line });
  Object.assign(logger, { debug: note("debug"), warn: note("warn") });
  let figures: MemoryFigures | undefined;
  const kept: number[][] = [];
  const work = async () => {
    kept.push(Array.from({ length: 1_000_000 }, (_, n) => n + 0.5));
    return kept.length;
  };
  const onEnd = (found: MemoryFigures) => {
    figures = found;
  };
  // What others have left must not go in the middle of it.
  collectGarbage();
  expect(await memoryContext("grow", work, { logger, maxGrowthBytes: 2 ** 20, onEnd })).toBe(1);
  expect((figures?.heapPeak ?? 0) - (figures?.heapBefore ?? 0)).toBeGreaterThan(4 * 2 ** 20);
  await expect(memoryContext("fail", () => Promise.reject(new Error("broke")), { logger })).rejects.toThrow(
    "broke",
  );
  expect(lines).toMatchObject([
    { level: "warn", memory: "grow", others: 0 },
    { level: "debug", memory: "fail", others: 0 },
  ]);
  // Whose it was cannot be told where several jobs work at the same time; that is said.
  const gate = Promise.withResolvers<void>();
  const both = ["one", "two"].map((name) => memoryContext(name, () => gate.promise, { logger }));
  const after = memoryContext("three", () => gate.resolve(), { logger });
  await Promise.all([...both, after]);
  await memoryContext("alone", () => {}, { logger });
  expect(lines.slice(2).map(({ memory, others }) => [memory, others])).toEqual(
    expect.arrayContaining([
      ["one", 2],
      ["two", 2],
      ["three", 2],
      ["alone", 0],
    ]),
  );
});
