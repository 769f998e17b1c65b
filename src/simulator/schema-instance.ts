import { fieldsOf, isObject } from "../shared/json.ts";
import { toldKeywords } from "../shared/json-schema.ts";
import { textOfPattern } from "./pattern-text.ts";

export type JsonSchema = boolean | { [keyword: string]: unknown };

const MAX_DEPTH = 40;
const MAX_NODES = 10_000;
/** Zod's bound of every integer. */
const ANY_INTEGER = Number.MIN_SAFE_INTEGER;
const FORMATS: Record<string, string> = {
  "date-time": "2000-01-01T00:00:00Z",
  date: "2000-01-01",
  time: "00:00:00Z",
  duration: "P1D",
  email: "simulated@example.com",
  hostname: "example.com",
  ipv4: "127.0.0.1",
  ipv6: "::1",
  uri: "https://example.com/simulated",
  uuid: "00000000-0000-4000-8000-000000000000",
};

/** One walk through a schema; `nodesLeft` bounds what a schema that refers to itself twice can cost. */
interface Walk {
  root: JsonSchema;
  nodesLeft: number;
}

/**
 * Returns a minimal instance of a JSON Schema: required properties only, the first branch of `anyOf`/`oneOf`, the least
 * number, the shortest list; local `$ref`s are followed, and most patterns are met. `not`, `if` and `uniqueItems` are
 * not looked at. Like a model, it heeds the keywords that a description tells.
 */
export function instanceOf(schema: JsonSchema): unknown {
  return build(schema, { root: schema, nodesLeft: MAX_NODES }, 0);
}

function build(schema: unknown, walk: Walk, depth: number): unknown {
  if (isExhausted(walk, depth)) return null;
  const resolved = resolve(schema, walk, depth);
  if ("const" in resolved) return resolved.const;
  if (Array.isArray(resolved.enum) && resolved.enum.length > 0) return resolved.enum[0];
  const branches = listOf(resolved.anyOf ?? resolved.oneOf);
  if (branches.length > 0) {
    const { anyOf: _anyOf, oneOf: _oneOf, ...rest } = resolved;
    return build({ allOf: [rest, leastNested(branches)] }, walk, depth + 1);
  }
  return buildType(typeOf(resolved), resolved, walk, depth);
}

/** Follows `$ref` and merges `allOf`, so that what is left names its type itself. */
function resolve(schema: unknown, walk: Walk, depth: number): Record<string, unknown> {
  const said = fieldsOf(schema);
  const { $ref, allOf, ...own } = { ...said, ...toldKeywords(said) };
  if (isExhausted(walk, depth)) return own;
  const merged =
    typeof $ref === "string" ? { ...resolve(lookUp($ref, walk.root), walk, depth + 1), ...own } : own;
  for (const part of listOf(allOf)) {
    const { properties, required, ...next } = resolve(part, walk, depth + 1);
    Object.assign(merged, next, {
      properties: { ...fieldsOf(merged.properties), ...fieldsOf(properties) },
      required: [...listOf(merged.required), ...listOf(required)],
    });
  }
  return merged;
}

function lookUp(ref: string, root: JsonSchema): unknown {
  const steps = ref.replace(/^#\/?/, "").split("/").filter(Boolean);
  return steps.reduce<unknown>(
    (at, step) => fieldsOf(at)[step.replaceAll("~1", "/").replaceAll("~0", "~")],
    root,
  );
}

function isExhausted(walk: Walk, depth: number): boolean {
  return depth > MAX_DEPTH || walk.nodesLeft-- <= 0;
}

/** Returns a branch without `$ref`, which ends a recursive schema such as a tree whose leaf is `null`. */
function leastNested(branches: unknown[]): unknown {
  return branches.find((branch) => !JSON.stringify(branch).includes('"$ref"')) ?? branches[0];
}

function typeOf(schema: Record<string, unknown>): unknown {
  if (Array.isArray(schema.type)) return schema.type[0];
  if (schema.type !== undefined) return schema.type;
  if (schema.properties || schema.required) return "object";
  return schema.items || schema.prefixItems ? "array" : "string";
}

function buildType(type: unknown, schema: Record<string, unknown>, walk: Walk, depth: number): unknown {
  if (type === "object") return buildObject(schema, walk, depth);
  if (type === "array") return buildArray(schema, walk, depth);
  if (type === "integer" || type === "number") return leastNumber(schema, type === "integer");
  if (type === "boolean") return false;
  return type === "null" ? null : buildString(schema);
}

function buildObject(schema: Record<string, unknown>, walk: Walk, depth: number): object {
  const properties = fieldsOf(schema.properties);
  const names = listOf(schema.required).map(String);
  const least = Math.min(numberOf(schema.minProperties) ?? 0, 1000);
  names.push(
    ...Array.from({ length: Math.max(0, least - names.length) }, (_, index) => furtherName(schema, index)),
  );
  return Object.fromEntries(
    names.map((name) => {
      const further = isObject(schema.additionalProperties)
        ? schema.additionalProperties
        : { type: "string" };
      const property = Object.hasOwn(properties, name) ? properties[name] : further;
      return [name, build(property, walk, depth + 1)];
    }),
  );
}

function furtherName({ propertyNames }: Record<string, unknown>, index: number): string {
  const { enum: names, pattern } = fieldsOf(propertyNames);
  const named = listOf(names)[index];
  if (typeof named === "string") return named;
  return typeof pattern === "string" ? textOfPattern(pattern, index + 1) : `name${index + 1}`;
}

function buildArray(schema: Record<string, unknown>, walk: Walk, depth: number): unknown[] {
  const prefix = listOf(schema.prefixItems);
  const length = Math.min(Math.max(numberOf(schema.minItems) ?? 0, prefix.length), 1000);
  return Array.from({ length }, (_, index) =>
    build(prefix[index] ?? schema.items ?? { type: "string" }, walk, depth + 1),
  );
}

function leastNumber(schema: Record<string, unknown>, integer: boolean): number {
  const step = numberOf(schema.multipleOf) ?? (integer ? 1 : 0);
  const above = numberOf(schema.exclusiveMinimum);
  const below = numberOf(schema.exclusiveMaximum);
  const most = numberOf(schema.maximum) ?? below;
  const bounds = [numberOf(schema.minimum), above].filter((bound) => (bound ?? ANY_INTEGER) !== ANY_INTEGER);
  const least = bounds.length > 0 ? Math.max(...(bounds as number[])) : Math.min(0, most ?? 0);
  const value = step > 0 ? Math.ceil(least / step) * step : least;
  if (value === above) return value + (step || (most === undefined ? 1 : (most - value) / 2));
  return value === below ? value - (step || 1) : value;
}

function buildString(schema: Record<string, unknown>): string {
  const known = FORMATS[String(schema.format)];
  const least = Math.min(numberOf(schema.minLength) ?? 0, 100_000);
  if (typeof schema.pattern === "string" && !matches(known, schema.pattern)) {
    return textOfPattern(schema.pattern, least);
  }
  if (known !== undefined) return known;
  return "simulated".padEnd(least, ".").slice(0, Math.max(least, numberOf(schema.maxLength) ?? 100_000));
}

function matches(text: string | undefined, pattern: string): boolean {
  try {
    return text !== undefined && new RegExp(pattern).test(text);
  } catch {
    return false;
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
