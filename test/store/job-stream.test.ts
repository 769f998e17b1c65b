import { afterAll, beforeEach, expect, test } from "vitest";
import type { StreamEntry } from "../../src/shared/stream-events.ts";
import { appendToStream, readStreamPage } from "../../src/store/job-stream.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const redis = testRedis();
let store: Store;
beforeEach(() => {
  store = storeOf(redis, testNamespace());
});
afterAll(() => redis.disconnect());

const entry = (number: number, said: string, { token = "t", turn = 1 } = {}): StreamEntry => ({
  token,
  turn,
  number,
  pieces: [{ type: "text", text: said }],
});

async function text(): Promise<string> {
  const { entries } = await readStreamPage(store, "job-1", "0");
  return entries
    .flatMap(({ pieces }) => pieces)
    .map((piece) => ("text" in piece ? piece.text : "arguments" in piece ? piece.arguments : ""))
    .join("");
}

async function append(sent: StreamEntry) {
  return [await appendToStream(store, "job-1", sent), await text()];
}

test("an entry that arrives twice is stored once", async () => {
  expect(await append(entry(0, "a"))).toEqual(["appended", "a"]);
  expect(await append(entry(1, "b"))).toEqual(["appended", "ab"]);
  expect(await append(entry(1, "b"))).toEqual(["appended", "ab"]);
  expect(await append(entry(0, "a"))).toEqual(["appended", "ab"]);
  expect(await append(entry(3, "d"))).toEqual(["lost", "ab"]);
});

test("a call that begins a turn anew takes away what is void, and the call before it adds nothing more", async () => {
  await append(entry(0, "one. "));
  await append(entry(0, "two, cut o", { turn: 2 }));
  const again = { token: "u", turn: 2 };
  expect(await append(entry(0, "two. ", again))).toEqual(["appended", "one. two. "]);
  expect(await append(entry(1, "ff", { turn: 2 }))).toEqual(["superseded", "one. two. "]);
  expect(await append(entry(1, "End.", again))).toEqual(["appended", "one. two. End."]);
});

test("a page holds 100 entries, and tells whether more may follow", async () => {
  for (let number = 0; number < 101; number++) {
    await appendToStream(store, "job-1", entry(number, "x"));
  }
  const first = await readStreamPage(store, "job-1", "0");
  expect([first.entries.length, first.isFull]).toEqual([100, true]);
  const second = await readStreamPage(store, "job-1", first.lastId);
  expect([second.entries, second.isFull]).toEqual([[entry(100, "x")], false]);
  expect(await readStreamPage(store, "job-1", second.lastId)).toEqual({
    entries: [],
    lastId: second.lastId,
    isFull: false,
    record: undefined,
  });
});
