import { describe, expect, test } from "vitest";
import { z } from "zod";
import { toOutputCheck, toOutputSpec } from "../../src/calls/output-schema.ts";
import { InputError } from "../../src/shared/errors.ts";
import { readOutput } from "../../src/workers/output/read-output.ts";
import { failureOf } from "../support/provider.ts";

/** What the worker makes of an answer of this JSON: the value, or what is wrong with it. */
function workerOn(schema: z.core.$ZodType, value: unknown) {
  const spec = toOutputSpec(schema);
  const content = JSON.stringify(spec.wrapped ? { value } : value);
  const body = {
    choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content } }],
  };
  return readOutput(body as never, { ...spec, check: toOutputCheck(schema, spec) }, "prompt");
}

const Tree = z.object({
  label: z.string().regex(/^[a-z]$/i),
  get children() {
    return z.array(Tree).default([]);
  },
});
const Cat = z.object({ kind: z.literal("cat"), lives: z.coerce.number() });
const Dog = z.object({ kind: z.literal("dog"), name: z.string().catch("Rex") });
const nullToDefault = z.preprocess((value) => value ?? undefined, z.string().default("d"));

describe("what zod takes the worker takes too", () => {
  test.each<[string, z.ZodType, readonly unknown[]]>([
    ["flags of a regex", z.object({ a: z.string().regex(/^abc$/i) }), [{ a: "ABC" }]],
    ["several regexes", z.object({ a: z.string().regex(/^a/).regex(/C$/i) }), [{ a: "abc" }]],
    ["a multi-line regex", z.string().regex(/^b$/m), ["a\nb"]],
    ["a Unicode regex", z.string().regex(/^\p{Lu}+$/u), ["ÄÖ"]],
    ["a dot and a pair of surrogates", z.string().regex(/^..$/), ["😀"]],
    ["lengths of texts", z.string().min(1).max(1), ["😀"]],
    ["catch", z.object({ a: z.number().catch(7) }), [{ a: "no" }, {}, { a: null }]],
    [
      "a catch that looks",
      z.object({ a: z.number().catch(({ value }) => String(value).length) }),
      [{ a: "no" }],
    ],
    [
      "coerced values",
      z.object({ a: z.coerce.number(), b: z.coerce.boolean() }),
      [
        { a: "5", b: "" },
        { a: null, b: 1 },
      ],
    ],
    ["a coerced date", z.object({ when: z.coerce.date() }), [{ when: "2026-01-02" }, { when: 0 }]],
    ["a coerced bigint", z.object({ n: z.coerce.bigint() }), [{ n: "12" }, { n: 3 }]],
    ["null for a default", z.object({ a: nullToDefault }), [{ a: null }, {}, { a: "x" }]],
    [
      "preprocess of an object",
      z.preprocess((text) => JSON.parse(String(text)), z.object({ a: z.int() })),
      ['{"a":1}'],
    ],
    ["defaults", z.object({ a: z.string().default("d"), b: z.int().prefault(1) }), [{}, { a: "x", b: 2 }]],
    [
      "nullish",
      z.object({ a: z.string().nullish(), b: z.int().nullable() }),
      [{ b: null }, { a: null, b: 1 }],
    ],
    [
      "transforms and pipes",
      z.object({ a: z.string().transform(Number).pipe(z.number().min(3)) }),
      [{ a: "4" }],
    ],
    ["a codec", z.object({ a: z.stringbool() }), [{ a: "yes" }]],
    [
      "text changed before its rules",
      z.object({ a: z.string().trim().max(3).regex(/^abc$/) }),
      [{ a: "  abc  " }],
    ],
    ["upper case first", z.object({ a: z.string().toUpperCase().regex(/^ABC$/) }), [{ a: "abc" }]],
    ["includes from a position", z.object({ a: z.string().includes("x", { position: 1 }) }), [{ a: "abcx" }]],
    [
      "steps of a decimal",
      z.object({ a: z.number().multipleOf(0.1), b: z.number().step(0.01) }),
      [{ a: 0.3, b: 1.1 }],
    ],
    [
      "a union whose branches are looser",
      z.discriminatedUnion("kind", [Cat, Dog]),
      [
        { kind: "cat", lives: "9" },
        { kind: "dog", name: 7 },
      ],
    ],
    [
      "exactly one of",
      z.xor([z.object({ a: z.coerce.number() }), z.object({ b: z.string() })]),
      [{ a: "1" }],
    ],
    [
      "an intersection of closed objects",
      z.strictObject({ a: z.int() }).and(z.strictObject({ b: z.int() })),
      [{ a: 1, b: 2 }],
    ],
    [
      "an intersection with what is free",
      z.strictObject({ a: z.int() }).and(z.object({ b: z.string().catch("") })),
      [],
    ],
    ["any", z.object({ a: z.any(), b: z.unknown().optional() }), [{ a: null }, { a: 1 }]],
    ["records", z.record(z.enum(["a", "b"]), z.int().catch(0)), [{ a: 1, b: "x" }]],
    ["numeric keys", z.record(z.number(), z.string()), [{ 1: "a" }]],
    ["partial records", z.partialRecord(z.enum(["a", "b"]), z.int()), [{ a: 1 }]],
    ["loose records", z.looseRecord(z.string().regex(/^n_/i), z.int()), [{ N_a: 1, other: "x" }]],
    [
      "keys that change",
      z.record(
        z
          .string()
          .toLowerCase()
          .regex(/^[a-z]+$/),
        z.int(),
      ),
      [{ ABC: 1 }],
    ],
    ["tuples", z.tuple([z.coerce.string(), z.int().optional()]), [["a"], [1, 2]]],
    ["recursion", Tree, [{ label: "A", children: [{ label: "b" }] }]],
    ["wrapped roots", z.array(z.coerce.number()), [["1", 2]]],
    ["a free root", z.coerce.number(), ["1", null]],
    ["keywords of meta", z.object({ a: z.string().meta({ pattern: "^x$", minLength: 9 }) }), [{ a: "y" }]],
    [
      "an own JSON Schema",
      z.object({ a: Object.assign(z.string(), {}).meta({ id: "ZodSchemaTestText" }) }),
      [{ a: "" }],
    ],
    [
      "formats",
      z.object({ a: z.email(), b: z.uuid(), c: z.url(), d: z.iso.datetime({ local: true }) }),
      [{ a: "a@b.co", b: "0190c6b6-1111-7abc-8def-0123456789ab", c: " https://x.y ", d: "2026-01-01T00:00" }],
    ],
    [
      "formats of one's own",
      z.object({ a: z.email({ pattern: /^.+$/s }), b: z.stringFormat("email", () => true) }),
      [{ a: "x", b: "y" }],
    ],
    [
      "encodings",
      z.object({ a: z.base64(), b: z.emoji(), c: z.ipv6(), d: z.jwt().optional(), e: z.e164() }),
      [{ a: "YQ==", b: "😀", c: "::1", e: "+4912345678" }],
    ],
    ["template literals", z.templateLiteral(["v", z.number(), z.enum(["a", "b"])]), ["v1a"]],
    ["values of all kinds", z.json(), [null, [1, { a: "x" }]]],
  ])("%s", async (_, schema, values) => {
    for (const value of values) {
      const own = await schema.safeParseAsync(value);
      expect(own.error, `zod on ${JSON.stringify(value)}`).toBeUndefined();
      expect(workerOn(schema, value), JSON.stringify(value)).toMatchObject({ ok: true, value });
    }
    expect(toOutputSpec(schema)).toBeTruthy();
  });
});

test("what JSON Schema surely says the worker still checks, and shows the model", () => {
  const schema = z.object({
    code: z.string().regex(/^[A-Z]{2}$/),
    price: z.number().min(0),
    list: z.array(z.int()).min(1),
    kind: z.enum(["a", "b"]),
    mail: z.email(),
    free: z.coerce.number(),
  });
  const value = { code: "x", price: -1, list: [], kind: "c", mail: "none", more: 1 };
  const reading = workerOn(schema, value);
  const places = reading.ok ? [] : reading.problem.split("\n").map((line) => line.split(":")[0]);
  expect(places).toEqual(["at /code", "at /price", "at /list", "at /kind", "at /mail"]);
  expect(workerOn(z.strictObject({ a: z.int() }), { a: 1, b: 2 })).toMatchObject({ ok: false });
  expect(workerOn(z.object({ a: z.int() }), {})).toMatchObject({ ok: false });
});

test("flags are told to the model in words, not as another rule", () => {
  const { schema } = toOutputSpec(z.object({ a: z.string().regex(/^abc$/i).describe("letters") }));
  expect(schema).toMatchObject({
    properties: {
      a: { type: "string", description: "letters\nMust match the regular expression /^abc$/i." },
    },
  });
  expect(JSON.stringify(schema)).not.toContain("pattern");
});

test.each<[string, z.ZodType, string]>([
  [
    "a file",
    z.object({ list: z.array(z.object({ scan: z.file() })) }),
    "/properties/list/items/properties/scan: Files",
  ],
  ["an optional file", z.file().optional(), "at /: Files"],
  ["a transform alone", z.object({ a: z.transform(String) }), "/properties/a: Transforms"],
  ["a set", z.object({ a: z.set(z.string()) }), "/properties/a: Set"],
  ["an instance of a class", z.object({ a: z.instanceof(URL) }), "/properties/a: Custom types"],
])("%s is refused by its name and place", async (_, schema, message) => {
  const error = await failureOf(Promise.resolve().then(() => toOutputSpec(schema)));
  expect(error).toBeInstanceOf(InputError);
  expect((error as InputError).message).toContain(message);
});
