import { transformJSONSchema } from "@anthropic-ai/sdk/lib/transform-json-schema";
import { toStrictJsonSchema } from "openai/lib/transform";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { toOutputSpec } from "../../src/calls/output-schema.ts";
import { compileSchema } from "../../src/shared/compile-schema.ts";
import type { JsonSchema } from "../../src/shared/json-schema.ts";
import { instanceOf } from "../../src/simulator/schema-instance.ts";
import { narrowSchema } from "../../src/workers/output/narrow-schema.ts";
import { NATIVE_SUBSETS } from "../../src/workers/output/schema-subset.ts";
import { randomSchemas } from "../support/random-schema.ts";
import { sizeOf } from "../support/sample.ts";

const { openai, anthropic } = NATIVE_SUBSETS;

const Tree = z.object({
  label: z.string(),
  get children() {
    return z.array(Tree);
  },
});

/** Says yes where the vendor's own SDK would send the schema as it is. */
function fitsOpenAI(schema: JsonSchema): boolean {
  return isSame(toStrictJsonSchema(schema as never), schema);
}

function fitsAnthropic(schema: JsonSchema): boolean {
  return isSame(transformJSONSchema(schema as never), schema);
}

function isSame(left: unknown, right: unknown): boolean {
  expect(left).toEqual(right);
  return true;
}

const property = (schema: JsonSchema | z.ZodType): JsonSchema => {
  const json =
    schema instanceof z.ZodType ? toOutputSpec(z.object({ p: schema })).schema : closed({ p: schema });
  return json;
};

function closed(properties: Record<string, unknown>): JsonSchema {
  return { type: "object", properties, required: Object.keys(properties) };
}

function propertyOf(schema: JsonSchema | undefined): unknown {
  return (schema?.properties as Record<string, unknown> | undefined)?.p;
}

describe("the part of a schema that a vendor enforces", () => {
  it.each<[string, JsonSchema | z.ZodType, boolean, boolean]>([
    ["a nested object", z.object({ a: z.object({ b: z.array(z.string()) }) }), true, true],
    ["an optional property", z.object({ a: z.string().optional() }), false, true],
    ["a default", z.object({ a: z.int().default(1) }), false, true],
    ["a nullable property", z.object({ a: z.iso.date().nullable() }), true, true],
    ["a union", z.union([z.string(), z.object({ a: z.int() })]), true, true],
    ["a discriminated union", z.discriminatedUnion("k", [z.object({ k: z.literal(1) })]), true, true],
    ["an enum", z.enum(["a", "b"]), true, true],
    ["a literal list", z.literal(["a", 1, null]), true, true],
    ["a merged intersection", z.intersection(z.object({ a: z.int() }), z.object({ b: z.int() })), true, true],
    ["two patterns", z.string().regex(/a/).regex(/b/), true, true],
    ["a record", z.record(z.string(), z.int()), false, false],
    ["an open object", z.looseObject({ a: z.int() }), false, false],
    ["any object", { type: "object" }, false, false],
    ["a tuple", z.tuple([z.int(), z.string()]), false, false],
    ["anything", z.any(), false, false],
    ["a list of anything", { type: "array" }, false, false],
    ["a tree", Tree, true, false],
    ["allOf", { allOf: [{ type: "object", properties: { a: {} } }] }, false, false],
    ["a required property unsaid", { type: "object", properties: {}, required: ["a"] }, false, false],
    ["an object among an enum", { enum: [{ a: 1 }] }, false, false],
    ["a reference into nowhere in particular", { $ref: "#/properties/p/items" }, false, false],
    ["true", true as never, false, false],
  ])("takes %s where its vendor takes it", (_name, schema, byOpenAI, byAnthropic) => {
    const strict = narrowSchema(property(schema), openai);
    const loose = narrowSchema(property(schema), anthropic);
    expect(strict !== undefined && fitsOpenAI(strict), "OpenAI").toBe(byOpenAI);
    expect(loose !== undefined && fitsAnthropic(loose), "Anthropic").toBe(byAnthropic);
  });

  it("ends where the vendors' limits end", () => {
    const many = (count: number, schema: unknown) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]));
    const nullable = { type: ["string", "null"] };
    expect(narrowSchema(closed(many(16, nullable)), anthropic)).toBeDefined();
    expect(narrowSchema(closed(many(17, nullable)), anthropic)).toBeUndefined();
    const optional = (count: number) => ({ ...closed(many(count, { type: "string" })), required: [] });
    expect(narrowSchema(optional(24), anthropic)).toBeDefined();
    expect(narrowSchema(optional(25), anthropic)).toBeUndefined();
    const deep = (levels: number): JsonSchema =>
      levels === 0 ? { type: "string" } : closed({ a: deep(levels - 1) });
    expect(narrowSchema(deep(9), openai)).toBeDefined();
    expect(narrowSchema(deep(10), openai)).toBeUndefined();
    expect(narrowSchema(closed(many(5001, { type: "string" })), openai)).toBeUndefined();
    const words = Array.from({ length: 1001 }, (_, i) => `w${i}`);
    expect(narrowSchema(closed({ a: { enum: words } }), openai)).toBeUndefined();
  });

  it("keeps the constraints that the vendor knows and tells the others in the description", () => {
    const price = z.number().min(0).max(99).describe("in euros");
    expect(propertyOf(narrowSchema(property(price), openai))).toEqual({
      type: "number",
      minimum: 0,
      maximum: 99,
      description: "in euros",
    });
    expect(propertyOf(narrowSchema(property(price), anthropic))).toEqual({
      type: "number",
      description: 'in euros\nJSON Schema: {"minimum":0,"maximum":99}',
    });
    const code = z.string().regex(/^(?=A)[A-Z]{2}$/);
    expect(propertyOf(narrowSchema(property(code), openai))).toEqual({
      type: "string",
      description: 'JSON Schema: {"pattern":"^(?=A)[A-Z]{2}$"}',
    });
    const plain = propertyOf(narrowSchema(property(z.string().regex(/^[A-Z]{2}$/)), openai));
    expect(plain).toEqual({ type: "string", pattern: "^[A-Z]{2}$" });
    const list = z.array(z.string().min(2)).min(2).max(5);
    expect(propertyOf(narrowSchema(property(list), openai))).toEqual({
      type: "array",
      minItems: 2,
      maxItems: 5,
      items: { type: "string", description: 'JSON Schema: {"minLength":2}' },
    });
    expect(propertyOf(narrowSchema(property(z.iso.date()), openai))).toEqual({
      type: "string",
      format: "date",
    });
    expect(propertyOf(narrowSchema(property(z.int()), anthropic))).toEqual({ type: "integer" });
  });

  it("lets answers through that the schema itself then refuses", () => {
    const { schema } = toOutputSpec(
      z.object({
        price: z.number().min(0),
        code: z.string().regex(/^[A-Z]{2}$/),
        tags: z.array(z.string()).min(2),
      }),
    );
    const loose = narrowSchema(schema, anthropic) as JsonSchema;
    const answer = { price: -1, code: "x", tags: [] };
    expect(compileSchema(loose)(answer)).toEqual([]);
    expect(compileSchema(schema)(answer).map(({ instancePath }) => instancePath)).toEqual([
      "/price",
      "/code",
      "/tags",
    ]);
  });

  it("takes every instance of random schemas that it can say, and is one that the vendor takes", () => {
    const counts = { openai: 0, anthropic: 0 };
    const count = sizeOf(200, 60);
    for (const schema of randomSchemas(count)) {
      const instance = instanceOf(schema);
      const shown = JSON.stringify({ schema, instance });
      expect(compileSchema(schema)(instance), shown).toEqual([]);
      for (const dialect of ["openai", "anthropic"] as const) {
        const copy = narrowSchema(schema, NATIVE_SUBSETS[dialect]);
        if (!copy) continue;
        counts[dialect]++;
        expect(compileSchema(copy)(instance), shown).toEqual([]);
        expect(dialect === "openai" ? fitsOpenAI(copy) : fitsAnthropic(copy)).toBe(true);
        // Whoever heeds the copy and its descriptions answers as the schema demands.
        expect(compileSchema(schema)(instanceOf(copy)), shown).toEqual([]);
      }
    }
    expect(counts.openai / count).toBeGreaterThan(0.1);
    expect(counts.anthropic / count).toBeGreaterThan(0.1);
  });
});
