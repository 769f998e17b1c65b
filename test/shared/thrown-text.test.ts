import { expect, test } from "vitest";
import { thrownText } from "../../src/shared/thrown-text.ts";

class Loud extends Error {
  override get message(): string {
    throw new Error("no message");
  }
}
class Nameless extends Error {
  override get name(): string {
    throw new Error("no name");
  }
}
const traps = { get: () => fail(), getPrototypeOf: () => fail(), ownKeys: () => fail() };
const cyclic: Record<string, unknown> = {};
cyclic.self = cyclic;

function fail(): never {
  throw new Error("trapped");
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

test.each<[string, unknown, string]>([
  ["an error", new Error("no such order"), "no such order"],
  ["an error of a class", new RangeError("too far"), "RangeError: too far"],
  ["an error without a message", new Error(""), ""],
  ["a frozen error", Object.freeze(new TypeError("cold")), "TypeError: cold"],
  ["an error whose message throws", new Loud(), "Error: its message cannot be read"],
  ["an error whose name throws", new Nameless("still here"), "still here"],
  [
    "an error whose message is none",
    Object.assign(new Error(), { message: 7 }),
    "Error: its message cannot be read",
  ],
  ["undefined", undefined, "undefined was thrown"],
  ["null", null, "null"],
  ["a text", "out of stock", "out of stock"],
  ["a number", 42, "42"],
  ["a symbol", Symbol("why"), "Symbol(why)"],
  ["a bigint", 5n, "5"],
  ["a frozen object", Object.freeze({ code: 7 }), '{"code":7}'],
  ["an object with a message", { message: "busy", code: 7 }, "busy"],
  ["an object without a prototype", Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
  ["a cyclic object", cyclic, "what was thrown cannot be read"],
  ["a proxy that throws", new Proxy({}, traps), "what was thrown cannot be read"],
  ["a proxy of an error", new Proxy(new Error("inside"), traps), "what was thrown cannot be read"],
  ["a revoked proxy", revoked(), "what was thrown cannot be read"],
  ["a function", () => 1, "() => 1"],
])("%s", (_, thrown, text) => {
  expect(thrownText(thrown)).toBe(text);
});
