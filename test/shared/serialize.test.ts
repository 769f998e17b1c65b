import { expect, test } from "vitest";
import { deserialize, InputError, JobLostError, serialize, WorkflowError } from "../../src/index.ts";
import { encode } from "../../src/shared/serialize.ts";

const nested = new Map<unknown, unknown>([
  ["set", new Set([1n, new Date(0)])],
  [{ key: 1 }, new URL("https://example.org/a?b=c")],
]);

test.each([
  ["nothing", undefined],
  ["JSON", { a: [1, "x", null, true, { b: {} }], constructor: "Ferrari" }],
  ["undefined fields and holes", { a: undefined, b: [undefined, 1] }],
  ["a Date", new Date("2026-11-29T12:00:00.123Z")],
  ["a BigInt", -(2n ** 70n)],
  ["bytes", new Uint8Array([0, 255, 7])],
  ["a Map in a Map", nested],
  ["a key like a tag", { $t: "Date", v: "no date", more: { $t: 1 } }],
  ["a key like a tag beside types", { $t: new Date(5), list: [{ $t: "undefined" }] }],
  ["an odd key", { "": 1, "a.b": 2n }],
])("%s comes back as it was", (_what, value) => {
  expect(deserialize(serialize(value))).toStrictEqual(value);
});

test("errors come back with class, code, place and causes", () => {
  const cause = Object.assign(new RangeError("too far"), { code: "E_FAR" });
  const error = new TypeError("wrong", { cause: new Error("behind", { cause }) });
  const read = deserialize(serialize({ error })) as { error: Error };
  expect(read.error).toBeInstanceOf(TypeError);
  expect(read.error).toMatchObject({ message: "wrong", stack: error.stack });
  expect((read.error.cause as Error).cause).toBeInstanceOf(RangeError);
  expect((read.error.cause as Error).cause).toMatchObject({ message: "too far", code: "E_FAR" });
  class OwnError extends Error {
    override name = "OwnError";
  }
  expect(deserialize(serialize(new OwnError("own")))).toMatchObject({ name: "OwnError", message: "own" });
  const all = deserialize(serialize(new AggregateError([new OwnError("a"), 1], "all"))) as AggregateError;
  expect(all.errors).toEqual([expect.objectContaining({ name: "OwnError" }), 1]);
  expect(deserialize(serialize(new JobLostError("j")))).toMatchObject({
    code: "job_lost",
    context: { jobId: "j" },
  });
  expect(deserialize(serialize(new WorkflowError({ message: "w" })))).toBeInstanceOf(WorkflowError);
});

const cycle: { self?: unknown } = {};
cycle.self = { deep: [cycle] };
const deep = Array.from({ length: 600 }).reduce<unknown>((inner) => [inner], 1);

test.each([
  ["NaN", { a: [{ b: Number.NaN }] }, /NaN at a\.0\.b/],
  ["Infinity", Number.NEGATIVE_INFINITY, /-Infinity/],
  ["a function", { f: () => 1 }, /a function at f/],
  ["a symbol", [Symbol("s")], /a symbol at 0/],
  ["a cycle", cycle, /a cycle at self\.deep\.0/],
  ["an invalid Date", new Date("no"), /an invalid Date/],
  ["a promise", { p: Promise.resolve(1) }, /a Promise at p/],
  ["a regular expression", /x/, /a RegExp/],
  ["a WeakMap", new WeakMap(), /a WeakMap/],
  ["other numbers' bytes", new Float32Array(1), /a Float32Array/],
  ["__proto__", JSON.parse('{"a": {"__proto__": {"admin": true}}}'), /__proto__ at a/],
  ["what is too deep", deep, /more than 500 levels/],
  ["a fault in a Map", new Map([["k", Number.NaN]]), /NaN at k/],
])("%s is refused with its place", (_what, value, message) => {
  expect(() => serialize(value)).toThrow(message as RegExp);
  expect(() => serialize(value)).toThrow(InputError);
});

test.each([
  '{"a": {"__proto__": {"admin": true}}}',
  '{"$t": "Object", "v": {"__proto__": 1}}',
  '{"$t": "Later"}',
  "{",
])("the text %s is refused", (text) => {
  expect(() => deserialize(text)).toThrow(InputError);
  expect(({} as { admin?: boolean }).admin).toBeUndefined();
});

test("the same object twice is no cycle, and class instances are what JSON makes of them", () => {
  const shared = { n: 1 };
  class Point {
    x = 1;
    own() {}
  }
  const value = { a: shared, b: [shared], point: new Point(), said: { toJSON: () => ({ said: 2n }) } };
  expect(deserialize(serialize(value))).toEqual({
    a: shared,
    b: [shared],
    point: { x: 1 },
    said: { said: 2n },
  });
});

test("plain JSON has no tags, so that older versions read it", () => {
  expect(encode({ a: [1, { b: null }] }, "it")).toEqual({ json: { a: [1, { b: null }] }, isTyped: false });
});
