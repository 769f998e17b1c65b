import { isObject } from "../../shared/json.ts";
import { type JsonSchema, tellKeywords } from "../../shared/json-schema.ts";
import type { SchemaSubset } from "./schema-subset.ts";

/** Keywords that say nothing of the instance, or that the copy makes true anyway. */
const DROPPED = new Set([
  "$schema",
  "$id",
  "id",
  "$comment",
  "$defs",
  "definitions",
  "readOnly",
  "writeOnly",
]);
const SCALARS = new Set(["string", "number", "integer", "boolean", "null"]);
const MAX_TOLD_PATTERN_CHARS = 80;
const REF = /^#$|^#\/(?:\$defs|definitions)\/[^/]+$/;

/** Says that no copy within the subset can stand for the schema. */
class OutsideSubset extends Error {}

interface Run {
  subset: SchemaSubset;
  optional: number;
  unions: number;
  properties: number;
  enumValues: number;
  /** Which definitions refer to which: `#` is the root. */
  refs: Map<string, Set<string>>;
  within: string;
}

/**
 * A copy of the schema that the vendor takes; undefined where it could not ask for all that the schema allows: records
 * and open objects, tuples, `allOf`, untyped values, optional properties under OpenAI's strict mode.
 * The copy closes objects that leave further properties unsaid, and it is looser where the vendor knows a constraint
 * not, so answers are still to be checked against the schema itself. An optional property is not made nullable, as
 * OpenAI's guide proposes: null is another answer than none.
 */
export function narrowSchema(schema: JsonSchema, subset: SchemaSubset): JsonSchema | undefined {
  const run: Run = {
    subset,
    optional: 0,
    unions: 0,
    properties: 0,
    enumValues: 0,
    refs: new Map(),
    within: "#",
  };
  try {
    const copy = narrow(schema, run, 1);
    for (const keyword of ["$defs", "definitions"]) {
      if (isObject(schema[keyword])) copy[keyword] = narrowDefinitions(keyword, schema[keyword], run);
    }
    return copy.type === "object" && !isTooMuch(run) ? copy : undefined;
  } catch (error) {
    if (error instanceof OutsideSubset) return undefined;
    throw error;
  }
}

function isTooMuch({ subset, optional, unions, properties, enumValues, refs }: Run): boolean {
  return (
    optional > subset.maxOptional ||
    unions > subset.maxUnions ||
    properties > subset.maxProperties ||
    enumValues > subset.maxEnumValues ||
    (!subset.allowsRecursion && isCyclic(refs))
  );
}

function narrowDefinitions(keyword: string, definitions: Record<string, unknown>, run: Run): JsonSchema {
  const copies = Object.entries(definitions).map(([name, definition]) => {
    run.within = `#/${keyword}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    return [name, narrow(definition, run, 1)];
  });
  return Object.fromEntries(copies);
}

function narrow(schema: unknown, run: Run, depth: number): JsonSchema {
  if (!isObject(schema) || depth > run.subset.maxDepth) throw new OutsideSubset();
  if (schema.$ref !== undefined) return narrowRef(schema.$ref, run);
  const { title, description, type, ...rest } = schema;
  const [shape, consumed] = shapeOf(schema, run, depth);
  const copy: JsonSchema = { ...shape };
  if (title !== undefined) copy.title = title;
  if (description !== undefined) copy.description = description;
  const untaken: JsonSchema = {};
  for (const [keyword, value] of Object.entries(rest)) {
    if (consumed.includes(keyword) || DROPPED.has(keyword) || isZodsOwn(keyword, schema)) continue;
    if (run.subset.keeps(keyword, value, schema)) copy[keyword] = value;
    else untaken[keyword] = value;
  }
  return tellKeywords(copy, untaken);
}

/** Siblings of a reference are left to the check: OpenAI refuses them. */
function narrowRef(ref: unknown, { refs, within }: Run): JsonSchema {
  if (typeof ref !== "string" || !REF.test(ref)) throw new OutsideSubset();
  refs.set(within, (refs.get(within) ?? new Set()).add(ref));
  return { $ref: ref };
}

/** The structure of a schema, and the keywords that it takes up. */
function shapeOf(schema: JsonSchema, run: Run, depth: number): [JsonSchema, string[]] {
  const { type, anyOf, oneOf, items } = schema;
  const isScalar = SCALARS.has(String(type));
  if (schema.$dynamicRef || schema.patternProperties || schema.prefixItems || (schema.allOf && !isScalar)) {
    throw new OutsideSubset();
  }
  if (anyOf || oneOf) return [unionOf(schema, run, depth), ["anyOf", "oneOf"]];
  if ("const" in schema || "enum" in schema) return [literalsOf(schema, run), ["const", "enum"]];
  if (type === "object") {
    return [objectOf(schema, run, depth), ["properties", "additionalProperties", "required"]];
  }
  if (type === "array") return [{ type, items: narrow(items, run, depth + 1) }, ["items"]];
  const isScalarUnion = Array.isArray(type) && type.length > 0 && type.every((one) => SCALARS.has(one));
  if (!isScalar && !isScalarUnion) throw new OutsideSubset();
  if (isScalarUnion) run.unions += 1;
  return [{ type }, []];
}

/** `oneOf` is looser as `anyOf`; beside either nothing else may give the value a structure. */
function unionOf({ anyOf, oneOf, ...beside }: JsonSchema, run: Run, depth: number): JsonSchema {
  const branches = anyOf ?? oneOf;
  const isPlain = !(anyOf && oneOf) && !beside.properties && !beside.items && !beside.additionalProperties;
  if (!Array.isArray(branches) || branches.length === 0 || !isPlain) throw new OutsideSubset();
  run.unions += 1;
  return { anyOf: branches.map((branch) => narrow(branch, run, depth)) };
}

function literalsOf(schema: JsonSchema, run: Run): JsonSchema {
  const values = "const" in schema ? [schema.const] : schema.enum;
  if (
    !Array.isArray(values) ||
    values.length === 0 ||
    values.some((value) => value !== null && typeof value === "object")
  )
    throw new OutsideSubset();
  run.enumValues += values.length;
  const types = [...new Set(values.map(jsonTypeOf))];
  return {
    ...(run.subset.typesLiterals && { type: schema.type ?? (types.length === 1 ? types[0] : types) }),
    ...("const" in schema ? { const: schema.const } : { enum: values }),
  };
}

function objectOf(schema: JsonSchema, run: Run, depth: number): JsonSchema {
  const { properties = {}, required = [], additionalProperties = false, unevaluatedProperties } = schema;
  if (additionalProperties !== false || (unevaluatedProperties ?? false) !== false) throw new OutsideSubset();
  // An object of which nothing is said may hold anything; closed, it could hold nothing.
  const isAny = !schema.properties && schema.additionalProperties === undefined;
  if (!isObject(properties) || !Array.isArray(required) || isAny) throw new OutsideSubset();
  if (!required.every((name) => Object.hasOwn(properties, name))) throw new OutsideSubset();
  const entries = Object.entries(properties);
  run.properties += entries.length;
  run.optional += entries.filter(([name]) => !required.includes(name)).length;
  const copies = entries.map(([name, property]) => [name, narrow(property, run, depth + 1)]);
  return { type: "object", properties: Object.fromEntries(copies), required, additionalProperties: false };
}

/** Zod bounds every integer by what a double holds exactly, and spells out every format: no model need read that. */
function isZodsOwn(keyword: string, { [keyword]: value, type, format }: JsonSchema): boolean {
  if (keyword === "pattern") return format !== undefined && String(value).length > MAX_TOLD_PATTERN_CHARS;
  return type === "integer" && typeof value === "number" && Math.abs(value) === Number.MAX_SAFE_INTEGER;
}

function jsonTypeOf(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/** Depth first; a reference met again on its own path is a cycle. */
function isCyclic(refs: Run["refs"]): boolean {
  const done = new Set<string>();
  const visit = (at: string, path: ReadonlySet<string>): boolean => {
    if (path.has(at)) return true;
    if (done.has(at)) return false;
    done.add(at);
    return [...(refs.get(at) ?? [])].some((next) => visit(next, new Set([...path, at])));
  };
  return [...refs.keys()].some((start) => visit(start, new Set()));
}
