import { expect, test } from "vitest";
import { partialJson } from "../../src/shared/partial-json.ts";

const VALUE = {
  name: 'Ünï "quoted" \\ \u0007 😀',
  list: [1, -2.5e3, true, false, null, [], {}, [[""]]],
  nested: { a: { b: [{ c: "d" }] } },
  "": "empty key",
};

test.each([JSON.stringify(VALUE), JSON.stringify(VALUE, null, 2)])(
  "every beginning says what has come",
  (text) => {
    let longest = 0;
    for (let length = 0; length <= text.length; length++) {
      const value = partialJson(text.slice(0, length));
      const json = JSON.stringify(value) ?? "";
      // What is there is a beginning of what will be, so it only grows.
      expect(json.length, text.slice(0, length)).toBeGreaterThanOrEqual(longest - 2);
      longest = Math.max(longest, json.length);
    }
    expect(partialJson(text)).toEqual(VALUE);
    expect(partialJson(`${text}\n\`\`\` and more`)).toEqual(VALUE);
  },
);

test.each<[string, unknown]>([
  ["", undefined],
  ["{", {}],
  ['{"a', {}],
  ['{"a"', {}],
  ['{"a":', {}],
  ['{"a": "b', { a: "b" }],
  ['{"a": "b\\', { a: "b" }],
  ['{"a": "b\\u00e', { a: "b" }],
  ['{"a": "b\\\\', { a: "b\\" }],
  ['{"a": "\ud83d', { a: "" }],
  ['{"a": 1', {}],
  ['{"a": 1,', { a: 1 }],
  ['{"a": tr', {}],
  ['{"a": true', { a: true }],
  ['{"a": [1, 2', { a: [1] }],
  ['{"a": [1, {"b": "c', { a: [1, { b: "c" }] }],
  ["[", []],
  ["nu", undefined],
  ["hello", undefined],
  ['{"a": nothing', undefined],
  ["[".repeat(500), undefined],
])("%j", (text, value) => {
  expect(partialJson(text)).toEqual(value);
});
