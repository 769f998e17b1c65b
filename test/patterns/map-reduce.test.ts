import { expect, test } from "vitest";
import { Agent, mapReduce } from "../../src/index.ts";
import { chunksOf } from "../../src/patterns/chunks.ts";
import type { Call } from "../../src/simulator/call.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

/** 100 characters without a place to cut at, each 10 of them different. */
const INPUT = Array.from({ length: 10 }, (_, i) => `${i}abcdefghi`).join("");
const CONFIG = { input: INPUT, mapper: agent("mapper"), chunkSize: 25, chunkOverlap: 5 };
const [PARTS, RESULTS] = [/<part>\n(.*?)\n<\/part>/gs, /<result>\n(.*?)\n<\/result>/gs];
const FAILING = { error: "400" } as const;

function agent(name: string) {
  const words = { description: `The ${name}.`, systemPrompt: `You are the ${name}.` };
  return new Agent({ name, ...words, model: `simulator:${name}` });
}

function blocks(pattern: RegExp, prompt: string): string[] {
  return [...prompt.matchAll(pattern)].map(([, text = ""]) => text);
}

/** A chunk is answered by its first digit. */
function mapper({ lastUserText }: Call) {
  const [part = ""] = blocks(PARTS, lastUserText);
  return `m${/\d/.exec(part)?.[0]}`;
}

/** The results in brackets. */
function reducer({ lastUserText }: Call) {
  return `(${blocks(RESULTS, lastUserText).join(" ")})`;
}

test("chunks have the size, begin with the end of the one before, and leave nothing out", () => {
  const chunks = chunksOf(INPUT, 25, 5);
  expect(chunks.map(({ length }) => length)).toEqual([25, 25, 25, 25, 20]);
  const [firsts, lasts] = [chunks.map((chunk) => chunk.slice(0, 5)), chunks.map((chunk) => chunk.slice(-5))];
  expect(firsts.slice(1)).toEqual(lasts.slice(0, -1));
  expect([chunks[0], ...chunks.slice(1).map((chunk) => chunk.slice(5))].join("")).toBe(INPUT);
  expect(chunksOf("short", 25, 5)).toEqual(["short"]);
});

test("a chunk ends with a line, or with a word, where it has room for it", () => {
  expect(chunksOf("one two three four", 10, 0)).toEqual(["one two ", "three four"]);
  expect(chunksOf("a line of text\nand one more", 16, 0)).toEqual(["a line of text\n", "and one more"]);
  expect(chunksOf("a bcdefghijkl", 10, 0)).toEqual(["a bcdefghi", "jkl"]);
});

test.each([
  [1, 0],
  [2, 1],
  [3, 1],
  [7, 6],
])("no chunk of %i with overlap %i splits a character, and all come to an end", (size, overlap) => {
  const text = "🌊ab🌊🌊 c🌊\n🌊".repeat(5);
  const chunks = chunksOf(text, size, overlap);
  expect(chunks.filter((chunk) => !chunk.isWellFormed())).toEqual([]);
  let covered = 0;
  for (const chunk of chunks) {
    const start = text.lastIndexOf(chunk, covered);
    expect(start).toBeLessThanOrEqual(covered);
    covered = Math.max(covered, start + chunk.length);
  }
  expect(covered).toBe(text.length);
});

test("summarize: one reduction of all results in the input's order; chunks + 1 calls", async () => {
  const { run, calls } = await patternSite({ mapper, reducer });
  const result = await run(mapReduce, { ...CONFIG, reducer: agent("reducer") });
  expect(result).toMatchObject({ finalOutput: "(m0 m2 m4 m6 m8)", iterations: 2 });
  expect(result.metadata).toEqual({ chunks: 5, skippedChunks: [], levels: 1, reductions: 1 });
  const stages = result.agentInteractions.map(({ stage }) => stage);
  expect(stages).toEqual(["map 1", "map 2", "map 3", "map 4", "map 5", "reduce 1.1"]);
  const second = result.agentInteractions[1]?.input;
  expect(second).toContain(`Part 2 of 5`);
  expect(second).toContain(`<part>\n${chunksOf(INPUT, 25, 5)[1]}\n</part>`);
  expect(calls()).toBe(5 + 1);
});

test("the mapper reduces where there is no reducer", async () => {
  const both = (call: Call) => (call.lastUserText.includes("<result>") ? reducer(call) : mapper(call));
  const { run, calls } = await patternSite({ mapper: both });
  expect((await run(mapReduce, CONFIG)).finalOutput).toBe("(m0 m2 m4 m6 m8)");
  expect(calls("mapper")).toBe(5 + 1);
});

test("concatenate: the results under each other; no call but those for the chunks", async () => {
  const { run, calls } = await patternSite({ mapper });
  const result = await run(mapReduce, { ...CONFIG, reduceStrategy: "concatenate" });
  expect(result).toMatchObject({ finalOutput: "m0\n\nm2\n\nm4\n\nm6\n\nm8", iterations: 1 });
  expect(calls()).toBe(5);
});

test("hierarchical: groups that fit chunkSize, level by level; a lone result goes up as it is", async () => {
  const long = (call: Call) => mapper(call).padEnd(11, ".");
  const { run, calls } = await patternSite({
    mapper: long,
    reducer: (call) => reducer(call).replaceAll(".", ""),
  });
  const options = { reducer: agent("reducer"), reduceStrategy: "hierarchical" };
  const result = await run(mapReduce, { ...CONFIG, ...options });
  expect(result).toMatchObject({ finalOutput: "((m0 m2) (m4 m6) m8)", iterations: 3 });
  expect(result.metadata).toEqual({ chunks: 5, skippedChunks: [], levels: 2, reductions: 3 });
  const stages = result.agentInteractions.map(({ stage }) => stage).filter((stage) => /reduce/.test(stage));
  expect(stages).toEqual(["reduce 1.1", "reduce 1.2", "reduce 2.1"]);
  expect(calls()).toBe(5 + 3);
});

test("hierarchical ends also when no two results fit chunkSize; less reductions than chunks", async () => {
  const { run, calls } = await patternSite({
    mapper: (call) => mapper(call).padEnd(30, "."),
    reducer: (call) => `${reducer(call).length}`.padEnd(30, "."),
  });
  const options = { reducer: agent("reducer"), reduceStrategy: "hierarchical" };
  const result = await run(mapReduce, { ...CONFIG, ...options });
  expect(result.metadata).toMatchObject({ levels: 3, reductions: 4 });
  expect(calls()).toBe(5 + 4);
});

test.each([
  ["is the result without a reducer", {}, "m0", 0],
  ["is reduced by a reducer", { reducer: agent("reducer") }, "(m0)", 1],
  [
    "is reduced by a reducer, hierarchically too",
    { reducer: agent("reducer"), reduceStrategy: "hierarchical" },
    "(m0)",
    1,
  ],
])("a lone chunk's result %s", async (_what, options, finalOutput, reductions) => {
  const { run, calls } = await patternSite({ mapper, reducer });
  const result = await run(mapReduce, { ...CONFIG, chunkSize: 200, ...options });
  expect(result.finalOutput).toBe(finalOutput);
  expect(result.metadata).toMatchObject({ chunks: 1, reductions });
  expect(calls()).toBe(1 + reductions);
});

test("at most maxParallelChunks are asked for at a time, and a slow one holds up its lane only", async () => {
  const slow = (call: Call) => ({ reply: mapper(call), latencyMs: mapper(call) === "m0" ? 2000 : 100 });
  const { run, site } = await patternSite({ mapper: slow });
  await run(mapReduce, { ...CONFIG, reduceStrategy: "concatenate", maxParallelChunks: 2 });
  const calls = site.simulator.journal.entries().map(({ at, finishedAt }) => ({ at, end: finishedAt ?? at }));
  const besides = calls.map(({ at }) => calls.filter((other) => other.at <= at && at < other.end).length);
  expect(Math.max(...besides)).toBe(2);
  const [slowest, ...others] = calls.toSorted((a, b) => b.end - b.at - (a.end - a.at));
  expect(others.filter(({ end }) => end < (slowest?.end ?? 0))).toHaveLength(4);
});

test("a chunk that fails fails the run, or is left out with onAgentError skip; when all fail, so does the run", async () => {
  const third = (call: Call) => (mapper(call) === "m4" ? FAILING : mapper(call));
  const { run } = await patternSite({ mapper: third, reducer });
  const config = { ...CONFIG, reducer: agent("reducer"), maxParallelChunks: 2 };
  await expect(run(mapReduce, config)).rejects.toMatchObject({ code: "invalid_request" });
  const result = await run(mapReduce, { ...config, onAgentError: "skip" });
  expect(result).toMatchObject({ finalOutput: "(m0 m2 m6 m8)", metadata: { chunks: 5, skippedChunks: [3] } });

  const { run: runFailing } = await patternSite({ mapper: FAILING });
  const failed = runFailing(mapReduce, { ...CONFIG, onAgentError: "skip" });
  await expect(failed).rejects.toMatchObject({ code: "invalid_request" });
});

test("a reduction that fails fails the run", async () => {
  const { run } = await patternSite({ mapper, reducer: FAILING });
  const failed = run(mapReduce, { ...CONFIG, reducer: agent("reducer"), onAgentError: "skip" });
  await expect(failed).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  mapReduce,
  "a killed worker: the run goes on with the chunks that are left, and pays for none twice",
  async () => {
    const { survivesAKill } = await patternSite({ mapper, reducer });
    const config = { ...CONFIG, reducer: agent("reducer"), maxParallelChunks: 1 };
    const result = await survivesAKill(mapReduce, config, 5 + 1);
    expect(result.finalOutput).toBe("(m0 m2 m4 m6 m8)");
  },
);

test.each([
  [
    "an overlap of the chunk's size",
    { chunkOverlap: 25 },
    /wrong at chunkOverlap: must be less than chunkSize, 25/,
  ],
  ["a negative overlap", { chunkOverlap: -1 }, /wrong at chunkOverlap/],
  ["a chunk size of 0", { chunkSize: 0 }, /wrong at chunkSize/],
  [
    "a chunk size that makes too many chunks",
    { input: "x".repeat(10_000), chunkSize: 6 },
    /wrong at chunkSize: makes 9995 chunks of the input; at most 5000/,
  ],
  [
    "a chunk size that makes too many chunks since they end with words",
    { input: "abcdefg ".repeat(6000), chunkSize: 10, chunkOverlap: 0 },
    /wrong at chunkSize: makes 6000 chunks of the input; at most 5000/,
  ],
  ["no chunk at a time", { maxParallelChunks: 0 }, /wrong at maxParallelChunks/],
  ["no mapper", { mapper: undefined }, /wrong at mapper/],
  ["an unknown strategy", { reduceStrategy: "vote" }, /wrong at reduceStrategy/],
  [
    "a reducer that is never asked",
    { reducer: agent("reducer"), reduceStrategy: "concatenate" },
    /wrong at reducer: is not asked when reduceStrategy is concatenate/,
  ],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(mapReduce, { ...CONFIG, ...config })).rejects.toThrow(message);
});
