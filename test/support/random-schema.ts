import { z } from "zod";
import { toOutputSpec } from "../../src/calls/output-schema.ts";
import type { JsonSchema } from "../../src/shared/json-schema.ts";
import { seededRandom } from "./sample.ts";

type Random = () => number;

/** Schemas as callers write them, drawn by the run's seed. */
export function randomSchemas(count: number): JsonSchema[] {
  const random = seededRandom("schemas");
  return Array.from({ length: count }, () => toOutputSpec(objectOf(random, 0)).schema);
}

function objectOf(random: Random, depth: number): z.ZodType {
  const names = ["id", "name", "items", "kind", "notes"].slice(0, 1 + Math.floor(random() * 5));
  return z.object(Object.fromEntries(names.map((name) => [name, typeOf(random, depth + 1)])));
}

function typeOf(random: Random, depth: number): z.ZodType {
  const makers = depth > 3 ? SCALARS : [...SCALARS, ...NESTED];
  const made = (makers[Math.floor(random() * makers.length)] as (typeof NESTED)[number])(random, depth);
  const roll = random();
  const described = roll < 0.2 ? made.describe(`field ${Math.round(roll * 100)}`) : made;
  if (random() < 0.08) return described.nullable();
  return random() < 0.08 ? described.optional() : described;
}

const SCALARS: ((random: Random) => z.ZodType)[] = [
  () => z.string(),
  (random) =>
    z
      .string()
      .min(Math.floor(random() * 20))
      .max(40),
  () => z.string().regex(/^[A-Z]{2,4}-\d{3}$/),
  (random) => z.int().min(Math.floor(random() * 10) - 5),
  (random) =>
    z
      .number()
      .gt(0)
      .lt(1 + random()),
  (random) => z.int().multipleOf(1 + Math.floor(random() * 5)),
  () => z.boolean(),
  () => z.enum(["small", "large"]),
  () => z.literal("fixed"),
  () => z.iso.date(),
  () => z.iso.datetime(),
  () => z.email(),
  () => z.uuid(),
];

const NESTED: ((random: Random, depth: number) => z.ZodType)[] = [
  objectOf,
  objectOf,
  (random, depth) => z.array(typeOf(random, depth + 1)).min(Math.floor(random() * 3)),
  (random, depth) => z.union([typeOf(random, depth + 1), typeOf(random, depth + 1)]),
  (random, depth) =>
    z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("a"), value: typeOf(random, depth + 1) }),
      z.object({ kind: z.literal("b") }),
    ]),
  (random, depth) =>
    random() < 0.3 ? z.record(z.string(), typeOf(random, depth + 1)) : objectOf(random, depth),
  (random) => (random() < 0.3 ? z.tuple([z.string(), z.int()]) : z.null()),
];
