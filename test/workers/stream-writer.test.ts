import { afterAll, expect, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { type StreamEntry, streamEntrySchema } from "../../src/shared/stream-events.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { StreamWriter } from "../../src/workers/stream-writer.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());

function newJob() {
  const keys = redisKeys(testNamespace());
  const options = {
    store: plainStore(redis, keys),
    jobId: "job-1",
    logger: createLogger({ level: "silent", json: true }),
  };
  const entries = async (): Promise<StreamEntry[]> =>
    (await redis.xrange(keys.stream("job-1"), "-", "+")).map(([, fields]) => {
      const pairs = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]]] : []));
      return streamEntrySchema.parse(Object.fromEntries(pairs));
    });
  const text = async () =>
    (await entries())
      .flatMap(({ pieces }) => pieces)
      .map((piece) => ("text" in piece ? piece.text : "arguments" in piece ? piece.arguments : ""))
      .join("");
  return { keys, options, entries, text, key: keys.stream("job-1") };
}

test("pieces are gathered, numbered, and expire an hour after the last", async () => {
  const { options, entries, text, key } = newJob();
  const writer = new StreamWriter(options);
  const tell = writer.begin(1);
  const words = Array.from({ length: 200 }, (_, n) => `word${n} `);
  for (const word of words) {
    tell({ type: "text", text: word });
    await new Promise(setImmediate);
  }
  await writer[Symbol.asyncDispose]();
  expect(await text()).toBe(words.join(""));
  const all = await entries();
  expect(all.length).toBeLessThan(50);
  expect(all.map(({ number }) => number)).toEqual(all.map((_, n) => n));
  expect(new Set(all.map(({ token }) => token)).size).toBe(1);
  expect(await redis.ttl(key)).toBeGreaterThan(3500);
});

test("a torn character is sent whole", async () => {
  const { options, entries } = newJob();
  const writer = new StreamWriter(options);
  const tell = writer.begin(1);
  const sun = "🌞";
  tell({ type: "text", text: `a${sun[0]}` });
  await waitFor("the first piece", async () => (await entries()).length === 1);
  tell({ type: "text", text: `${sun[1]}b` });
  await writer[Symbol.asyncDispose]();
  const texts = (await entries())
    .flatMap(({ pieces }) => pieces)
    .map((piece) => piece.type === "text" && piece.text);
  expect(texts).toEqual(["a", `${sun}b`]);
});

test("what turns out to be reasoning is sent anew, in place of the text that it was told as", async () => {
  const { options, entries } = newJob();
  const writer = new StreamWriter(options);
  const tell = writer.begin(1);
  tell({ type: "text", text: "I add." });
  await writer.flush();
  tell({ type: "text", text: "More of it" });
  tell({ type: "restart" });
  tell({ type: "reasoning", text: "I add. More of it" });
  tell({ type: "text", text: "Four." });
  await writer[Symbol.asyncDispose]();
  expect((await entries()).map(({ turn, number, pieces }) => ({ turn, number, pieces }))).toEqual([
    {
      turn: 1,
      number: 0,
      pieces: [
        { type: "reasoning", text: "I add. More of it" },
        { type: "text", text: "Four." },
      ],
    },
  ]);
});

test("a repeated turn takes the place of what is void; earlier turns stay", async () => {
  const { options, text, entries } = newJob();
  for (const [turn, said] of [
    [1, "one. "],
    [2, "two, cut o"],
    [2, "two. "],
    [3, "three."],
  ] as const) {
    const writer = new StreamWriter(options);
    writer.begin(turn)({ type: "text", text: said });
    await writer[Symbol.asyncDispose]();
  }
  expect(await text()).toBe("one. two. three.");
  expect((await entries()).map(({ turn }) => turn)).toEqual([1, 2, 3]);
});

test("one writer tells turn after turn", async () => {
  const { options, text } = newJob();
  const writer = new StreamWriter(options);
  for (const turn of [1, 2, 3]) writer.begin(turn)({ type: "text", text: `turn ${turn}. ` });
  await writer[Symbol.asyncDispose]();
  expect(await text()).toBe("turn 1. turn 2. turn 3. ");
});

test("a worker that was stopped past its lock writes nothing more", async () => {
  const { options, text } = newJob();
  await using old = new StreamWriter(options);
  const oldTell = old.begin(1);
  oldTell({ type: "text", text: "old" });
  await waitFor("the old piece", async () => (await text()) === "old");
  await using next = new StreamWriter(options);
  next.begin(1)({ type: "text", text: "new" });
  await waitFor("the new piece", async () => (await text()) === "new");
  oldTell({ type: "text", text: " and older" });
  await old[Symbol.asyncDispose]();
  expect(await text()).toBe("new");
});

test("a stream that Redis lost is told again from its beginning", async () => {
  const { options, text, key } = newJob();
  const writer = new StreamWriter(options);
  const tell = writer.begin(1);
  tell({ type: "text", text: "one " });
  await waitFor("the first piece", async () => (await text()) === "one ");
  tell({ type: "text", text: "two " });
  await waitFor("the second piece", async () => (await text()) === "one two ");
  await redis.del(key);
  tell({ type: "text", text: "three" });
  await writer[Symbol.asyncDispose]();
  expect(await text()).toBe("one two three");
});

test("what Redis refuses is sent later, in order", async () => {
  const { options, text, key } = newJob();
  const writer = new StreamWriter(options);
  await redis.set(key, "of another type");
  const tell = writer.begin(1);
  tell({ type: "text", text: "one " });
  await waitFor("a refusal", async () => /errorstat_WRONGTYPE:count=/.test(await redis.info("errorstats")));
  tell({ type: "text", text: "two" });
  await redis.del(key);
  await writer[Symbol.asyncDispose]();
  expect(await text()).toBe("one two");
});

test("what is beyond 4 MiB is left out, and a further turn is still announced", async () => {
  const { options, entries, text } = newJob();
  const writer = new StreamWriter(options);
  const tell = writer.begin(1);
  for (let n = 0; n < 10; n++) tell({ type: "text", text: "x".repeat(1024 * 1024) });
  const next = writer.begin(2);
  next({ type: "text", text: "not told" });
  await writer[Symbol.asyncDispose]();
  expect(await text()).toHaveLength(4 * 1024 * 1024);
  expect((await entries()).at(-1)).toMatchObject({ turn: 2, number: 0, pieces: [] });
});
