import { describe, expect, test } from "vitest";
import { canonicalJson } from "../../src/shared/canonical-json.ts";
import { parseExactly, survivesParsing, type WrittenNumber } from "../../src/shared/exact-json.ts";

/** Every text with `JSON.parse`'s own value, as far as that can say it. */
const TEXTS = [
  '{"seed":9007199254740993,"also":-6150769120280496265,"twice":[9007199254740993,9007199254740992]}',
  '{"temperature":1.0,"top_p":1e0,"bias":{"50256":-100.0},"zero":-0,"none":-0.0,"huge":1e400,"tiny":1E-400}',
  '{"fraction":0.10,"long":0.1000000000000000055511151231257827,"usual":[0.1,0.7,1.5e-7,12.25]}',
  '{"zeta":1,"alpha":2,"10":3,"2":4,"nested":{"b":{"1":1,"0":{"x":2.50}},"a":[{"7":1,"3":2}]}}',
  '{"__proto__":{"a":1.0},"constructor":"b","toString":null,"hasOwnProperty":{"2":1,"1":2}}',
  '{"text":"1.0, 9007199254740993: \\"10\\": [1e400]","escaped\\"10\\":":1,"10":"\\\\","9":"\\u0000"}',
  "9007199254740993",
  '[1.0,"1.0"]',
];

describe("a JSON text that is read and written again", () => {
  test.each(TEXTS)("%s", (text) => {
    const value = parseExactly(text);
    expect(JSON.stringify(value)).toBe(text);
    expect(survivesParsing(text)).toBe(false);
  });

  test.each(['{"b":[1,-2.5,1e-7,true],"a":"1.0"}', "{}", '"\\ud83d"', '{"1":1,"2":2,"b":3}'])(
    "is as it always was: %s",
    (text) => {
      expect(parseExactly(text)).toEqual(JSON.parse(text));
      expect(survivesParsing(text)).toBe(true);
    },
  );

  test("what is no JSON tells the place in what was given", () => {
    for (const text of ['{"10":1,"9":2,}', '{"a":1.0,}', "", "{"]) {
      const told = (parse: (text: string) => unknown) => {
        try {
          return parse(text);
        } catch (error) {
          return String(error);
        }
      };
      expect(told(parseExactly)).toBe(told(JSON.parse));
    }
  });

  test("numbers compare and add up as their doubles", () => {
    const { n } = parseExactly('{"n":2.0}') as { n: WrittenNumber };
    expect(Number(n) * 3).toBe(6);
    expect(`${n.valueOf()}`).toBe("2");
    expect(canonicalJson({ n })).toBe('{"n":2}');
  });
});

describe("digests", () => {
  const digits = (text: string) => canonicalJson(parseExactly(text));

  test.each([
    ["1.0", "1"],
    ["1e0", "1"],
    ["-0", "0"],
    ["0.10", "0.1"],
    ["5e-1", "0.5"],
    ["1000e-2", "10"],
    ["1e22", "1e22"],
    ["9007199254740994", "9007199254740994"],
    ["18446744073709551616", "1.8446744073709552e19"],
  ])("%s is what it was before: a double holds it", (text, same) => {
    expect(digits(text)).toBe(JSON.stringify(JSON.parse(text)).replace(/^-0$/, "0"));
    expect(digits(text)).toBe(digits(same));
  });

  test.each([
    ["9007199254740993", "9007199254740992"],
    ["6150769120280496265", "6150769120280496000"],
    ["18446744073709551616", "18446744073709552000"],
    ["1e400", "1e401"],
    ["-9007199254740993", "9007199254740993"],
    ["9007199254740993", '"#9007199254740993"'],
    ["0.1000000000000000055", "0.1"],
    ["1e400", "null"],
  ])("%s is not %s", (one, other) => {
    expect(digits(one)).not.toBe(digits(other));
  });
});
