import { expect, test } from "vitest";
import type { IndexRow } from "../../src/batch/index-row.ts";
import { beginningKeys, beginningsOf } from "../../src/batch/prompt-beginnings.ts";
import { SendOrder } from "../../src/batch/send-order.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* Rows that begin alike go out together, one ahead of the others, so that the provider's prompt cache serves them. */

const SYSTEM = "You are an assistant of a library. ".repeat(150);
const document = (n: number) => `Document ${n}. ${`Its text number ${n} goes on and on. `.repeat(260)}`;
const ask = (system: string, text: string, question: string) => ({
  messages: [
    { role: "system" as const, content: system },
    { role: "user" as const, content: `${text}\n${question}` },
  ],
});

function rowOf(line: number, request?: Parameters<typeof beginningsOf>[0]): IndexRow {
  const beginnings = (request && beginningsOf(request)) ?? null;
  return {
    ...{ line, id: `row-${line}`, offset: 0, bytes: 1 },
    occurrence: 0,
    model: undefined,
    state: "missing",
    beginnings,
  };
}

const all = () => true;
const none = () => Promise.resolve(new Set<string>());

test("a prompt's beginnings tell how far two rows are alike; a short one has none", () => {
  const keys = (request: Parameters<typeof beginningsOf>[0]) =>
    beginningKeys(beginningsOf(request) ?? Buffer.alloc(0));
  const [one, same, other] = [
    ask(SYSTEM, document(1), "a"),
    ask(SYSTEM, document(1), "b"),
    ask(SYSTEM, document(2), "a"),
  ].map(keys);
  expect(one).toHaveLength(2);
  expect(same).toEqual(one);
  expect([other?.[0] === one?.[0], other?.[1] === one?.[1]]).toEqual([true, false]);
  expect(beginningsOf(ask("", "", "short"))).toBeUndefined();
  expect(beginningsOf({ ...ask(SYSTEM, "", ""), tools: [{ type: "function" }] })).not.toEqual(
    beginningsOf(ask(SYSTEM, "", "")),
  );
});

test("one row of each beginning goes ahead; the others when it was answered; each row once", async () => {
  const rows = Array.from({ length: 12 }, (_, n) => rowOf(n, ask("", document(n % 3), `question ${n}`)));
  const order = new SendOrder();
  order.add([...rows, rowOf(20)]);
  const sent = order.next(100, 100, all).map(({ line }) => line);
  expect(sent).toEqual([0, 1, 2, 20]);
  const inFlight = new Set(["row-0", "row-1", "row-2"]);
  await order.settle((id) => inFlight.has(id), none);
  expect(order.next(100, 100, all)).toEqual([]);
  inFlight.delete("row-1");
  await order.settle((id) => inFlight.has(id), none);
  expect(order.next(100, 0, all).map(({ line }) => line)).toEqual([4, 7, 10]);
  inFlight.clear();
  await order.settle((id) => inFlight.has(id), none);
  expect(order.next(100, 0, all).map(({ line }) => line)).toEqual([3, 6, 9, 5, 8, 11]);
  expect(order.size).toBe(0);
  // The provider has it now: nobody has to go ahead.
  order.add([rowOf(30, ask("", document(1), "late"))]);
  expect(order.next(100, 0, all)).toHaveLength(1);
});

test("what has no room comes back, what is not free is forgotten, and no more new beginnings go out than asked for", () => {
  const order = new SendOrder();
  order.add(Array.from({ length: 10 }, (_, n) => rowOf(n, ask("", document(n % 5), `question ${n}`))));
  // Each of them has a follower, which counts.
  const sent = order.next(100, 3, all);
  expect(sent.map(({ line }) => line)).toEqual([0, 1]);
  order.putBack(sent.slice(1));
  expect(order.next(100, 2, ({ line }) => line !== 1).map(({ line }) => line)).toEqual([6]);
  expect(order.size).toBe(7);
});

const QUESTIONS = 10;
const DOCUMENTS = 6;
const prompts = (n: number) => `${document(n % DOCUMENTS)}\nquestion ${n}`;

test("of rows that ask about the same documents in turn, each document is paid in full once", async () => {
  await using site = await TestSite.open({ promptCache: true, latencyMs: 50 });
  site.write("in.jsonl", site.rows(QUESTIONS * DOCUMENTS, prompts));
  const run = await site.run(...site.batch("--concurrency", "30", "--report", "r.json"));
  expect([run.code, run.stderr]).toEqual([0, expect.stringContaining("60 of 60 rows succeeded")]);
  const entries = site.simulator.journal.entries();
  expect(entries).toHaveLength(QUESTIONS * DOCUMENTS);
  expect(entries.filter(({ cachedTokens }) => cachedTokens === 0)).toHaveLength(DOCUMENTS);
  expect(site.read("out.jsonl").map(({ custom_id }) => custom_id)).toEqual(
    site.rows(60).map(({ custom_id }) => custom_id),
  );
});

test("a run that is killed while rows wait for their leaders goes on: nothing is missing, nothing else is paid twice", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({ latencyMs: 300 }, SHORT_LOCKS);
  site.write("in.jsonl", site.rows(QUESTIONS * DOCUMENTS, prompts));
  const run = site.start(...site.batch("--concurrency", "10"));
  await waitFor("some answers", () => site.simulator.journal.entries().some(({ status }) => status === 200));
  run.child.kill("SIGKILL");
  await run.exit;
  expect((await site.run(...site.batch("--concurrency", "10"))).code).toBe(0);
  expect(site.read("out.jsonl")).toHaveLength(QUESTIONS * DOCUMENTS);
  expect(site.simulator.journal.entries().length).toBeLessThanOrEqual(QUESTIONS * DOCUMENTS + 10);
});
