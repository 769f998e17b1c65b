import { describe, expect, it } from "vitest";
import { z } from "zod";
import { type OutputSchema, parseOutput, toOutputSpec } from "../../src/calls/output-schema.ts";
import { compileSchema } from "../../src/shared/compile-schema.ts";
import { InputError, StructuredOutputError } from "../../src/shared/errors.ts";
import type { JsonSchema } from "../../src/shared/json-schema.ts";
import { instanceOf } from "../../src/simulator/schema-instance.ts";
import { failureOf } from "../support/provider.ts";

const Tree = z.object({
  label: z.string(),
  get children() {
    return z.array(Tree);
  },
});

function refusalOf(schema: unknown, options = {}): InputError {
  try {
    toOutputSpec(schema as OutputSchema, options);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error as InputError;
  }
  throw new Error("the schema was taken");
}

describe("a structured answer's schema at the caller", () => {
  it("becomes a JSON Schema with descriptions, bounds and patterns, and defaults of its own", () => {
    const spec = toOutputSpec(
      z.object({
        price: z.number().min(0).max(99).describe("in euros"),
        code: z.string().regex(/^[A-Z]{2}$/),
        note: z.string().optional(),
        unit: z.string().nullable(),
      }),
    );
    expect(spec).toMatchObject({ name: "answer", wrapped: false, maxRepairs: 2 });
    expect(spec.mode).toBeUndefined();
    expect(spec.schema).toMatchObject({
      type: "object",
      required: ["price", "code", "unit"],
      properties: {
        price: { type: "number", minimum: 0, maximum: 99, description: "in euros" },
        code: { type: "string", pattern: "^[A-Z]{2}$" },
        unit: { type: ["string", "null"] },
      },
    });
    expect(spec.schema).not.toHaveProperty("$schema");
  });

  it("takes its name from the option, else from the schema's id or title", () => {
    const schema = z.object({ a: z.string() });
    expect(toOutputSpec(schema, { name: "weather-1" }).name).toBe("weather-1");
    expect(toOutputSpec(schema.meta({ title: "A day's weather" })).name).toBe("A_day_s_weather");
    expect(toOutputSpec(schema.meta({ id: "OutputTestDay", title: "x" })).name).toBe("OutputTestDay");
    expect(toOutputSpec(schema.meta({ id: "OutputTestDay" }))).toMatchObject({ wrapped: false });
    expect(refusalOf(schema, { name: "no spaces" }).message).toContain("at name: must be 1 to 64 letters");
    expect(refusalOf(schema, { maxRepairs: 11 }).message).toContain("at maxRepairs");
  });

  it.each<[string, z.ZodType, unknown]>([
    ["list", z.array(z.object({ a: z.int() })).min(1), { value: [{ a: 0 }] }],
    ["text", z.string(), { value: "simulated" }],
    ["number", z.number().min(3), { value: 3 }],
    ["union", z.union([z.object({ a: z.literal(1) }), z.string()]), { value: { a: 1 } }],
    ["enum", z.enum(["x", "y"]), { value: "x" }],
    ["nullable object", z.object({ a: z.boolean() }).nullable(), { value: { a: false } }],
    ["recursive list", z.array(Tree).min(1), { value: [{ label: "simulated", children: [] }] }],
  ])("of a %s is wrapped in an object", (_kind, schema, instance) => {
    const spec = toOutputSpec(schema);
    expect(spec).toMatchObject({ wrapped: true, schema: { type: "object", required: ["value"] } });
    expect(instanceOf(spec.schema)).toEqual(instance);
    expect(compileSchema(spec.schema)(instance)).toEqual([]);
    expect(compileSchema(spec.schema)({ value: { wrong: true } })).not.toEqual([]);
  });

  it("keeps what a wrapped schema refers to, its own root too", () => {
    const list = {
      type: "array",
      items: { anyOf: [{ $ref: "#" }, { $ref: "#/$defs/value" }] },
      $defs: { value: { type: "integer" } },
    };
    const { schema, wrapped } = toOutputSpec(list);
    expect(wrapped).toBe(true);
    const check = compileSchema(schema);
    expect(check({ value: [1, [2, [3]]] })).toEqual([]);
    expect(check({ value: [1, [2, ["three"]]] })).not.toEqual([]);
  });

  it("takes a plain JSON Schema, of an older draft's name too", () => {
    const plain = {
      $schema: "http://json-schema.org/draft-07/schema#",
      title: "Point",
      type: "object",
      properties: { x: { type: "number" } },
      required: ["x"],
    };
    const spec = toOutputSpec(plain);
    expect(spec).toMatchObject({ name: "Point", wrapped: false, schema: { required: ["x"] } });
    expect(compileSchema(spec.schema)({ x: "1" })).toHaveLength(1);
  });

  it.each<[string, unknown, string]>([
    ["a date", z.object({ a: z.object({ when: z.date() }) }), "/properties/a/properties/when: Date cannot"],
    [
      "a map",
      z.object({ list: z.array(z.map(z.string(), z.string())) }),
      "/properties/list/items: Map cannot",
    ],
    ["a bigint root", z.bigint(), "at /: BigInt cannot"],
    ["a custom type", z.object({ f: z.custom<File>() }), "/properties/f: Custom types cannot"],
    ["no schema", null, "neither a zod schema nor a JSON Schema"],
    ["a list", [], "neither a zod schema nor a JSON Schema"],
    ["an older zod's schema", { _def: {}, safeParse: () => {} }, "of an older zod"],
    [
      "a reference elsewhere",
      { type: "object", properties: { a: { $ref: "https://x.y/z" } } },
      "leads out of it",
    ],
    ["a large one", { type: "object", description: "x".repeat(300_000) }, "is larger than 256 KiB"],
    [
      "one with an unknown type",
      { type: "object", properties: { a: { type: "strng" } } },
      "data/properties/a/type must be",
    ],
    ["one whose pattern is none", z.object({ a: z.string().meta({ pattern: "(" }) }), "/(/"],
    ["a deep one", deepSchema(300), "nested deeper than 200 levels"],
  ])("is refused when it is %s", (_kind, schema, message) => {
    const error = refusalOf(schema);
    expect(error).toMatchObject({ code: "invalid_schema" });
    expect(error.message).toContain(message);
  });

  it("takes a property called like a keyword for a property", () => {
    const schema = {
      type: "object",
      properties: { $ref: { type: "string" }, pattern: { type: "integer" } },
      required: ["$ref"],
    };
    expect(toOutputSpec(schema).schema).toEqual(schema);
  });
});

describe("the caller's own zod schema", () => {
  it("gives the value its last form: transforms and defaults", async () => {
    const schema = z.object({ at: z.iso.date().transform((text) => new Date(text)), n: z.int().default(7) });
    const value: { at: Date; n: number } = await parseOutput(schema, { at: "2026-01-02" });
    expect(value).toEqual({ at: new Date("2026-01-02"), n: 7 });
    const plain: unknown = await parseOutput({ type: "object" } as JsonSchema, { a: 1 });
    expect(plain).toEqual({ a: 1 });
  });

  it("refuses what no JSON Schema can say, naming the place", async () => {
    const schema = z.object({ list: z.array(z.int().refine((n) => n % 2 === 0, "must be even")) });
    const error = await failureOf(parseOutput(schema, { list: [2, 3] }));
    expect(error).toBeInstanceOf(StructuredOutputError);
    expect((error as StructuredOutputError).rejected).toEqual({
      text: '{"list":[2,3]}',
      problem: "at /list/1: must be even",
    });
  });
});

function deepSchema(levels: number): JsonSchema {
  let schema: JsonSchema = { type: "string" };
  for (let i = 0; i < levels; i++) schema = { type: "object", properties: { a: schema } };
  return schema;
}
