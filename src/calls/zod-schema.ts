import { z } from "zod";
import { InputError } from "../shared/errors.ts";
import type { JsonSchema } from "../shared/json-schema.ts";

/*
 * The two JSON Schemas of a zod schema: what the model is told, and what its worker checks. zod takes more than its JSON
 * Schema says (coerced values, regular expressions with flags, values that a `catch` replaces): what only zod can decide is
 * left to zod, at the caller.
 */

type Zod = z.core.$ZodType;
type ToJsonSchema = NonNullable<Parameters<typeof z.toJSONSchema>[1]>;
type Overridden = Parameters<NonNullable<ToJsonSchema["override"]>>[0];

const HINT = "use what JSON can hold: objects, lists, texts, numbers, booleans, null, and unions of them";

/** Returns the error of a schema that cannot be used. */
export function invalidSchema(reason: string, hint = HINT): InputError {
  return new InputError(`the schema of the answer cannot be used: ${reason}`, hint, "invalid_schema");
}

/** Returns what the model is told of a zod schema. @throws InputError `invalid_schema` naming the place of what JSON cannot hold */
export function toldOfZod(schema: Zod): JsonSchema {
  return convert(schema, { override: tellFlags });
}

/** Returns what every value that zod takes fits. Its patterns are meant as zod has them, without the flag `u`. */
export function surelyOfZod(schema: Zod): JsonSchema {
  // What `meta` adds zod does not check.
  return convert(schema, { override: loosen, metadata: z.registry() });
}

function convert(schema: Zod, options: ToJsonSchema): JsonSchema {
  try {
    const json = z.toJSONSchema(schema, { io: "input", unrepresentable: standIn, ...options });
    return json as JsonSchema;
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw invalidSchema((error as Error).message);
  }
}

/** What stands for a value that JSON cannot hold, where zod makes it of one that JSON can. */
function standIn({
  zodSchema,
  path,
  message,
}: {
  zodSchema: Zod;
  path: (string | number)[];
  message: string;
}) {
  const { type, coerce } = zodSchema._zod.def as { type: string; coerce?: boolean };
  if (coerce && type === "date") return { type: "string", format: "date-time" } as const;
  if (coerce && type === "bigint") return { type: "integer" } as const;
  if (type === "catch") return "any";
  throw invalidSchema(`at /${path.join("/")}: ${message}`);
}

/** The pattern alone would be another rule. */
function tellFlags({ zodSchema, jsonSchema, path }: Overridden): void {
  if (zodSchema._zod.def.type === "file") {
    throw invalidSchema(`at /${path.join("/")}: Files cannot be represented in JSON Schema`);
  }
  const flagged = patternsOf(zodSchema).filter(({ flags }) => flags !== "");
  if (flagged.length === 0) return;
  setPatterns(jsonSchema, zodSchema);
  const rules = flagged.map((pattern) => `Must match the regular expression ${pattern}.`);
  jsonSchema.description = [jsonSchema.description, ...rules].filter(Boolean).join("\n");
}

function loosen({ zodSchema, jsonSchema }: Overridden): void {
  const json = jsonSchema as JsonSchema;
  // What changes the value does so before the other rules see it.
  const changes = checksOf(zodSchema).some(({ check }) => check === "overwrite");
  if (isFree(zodSchema) || changes) {
    keep(json, changes ? ["type"] : []);
    return;
  }
  const def = (zodSchema as z.core.$ZodTypes)._zod.def;
  switch (def.type) {
    case "string":
      if (!zodSchema._zod.traits.has("$ZodURL")) delete json.format;
      setPatterns(json, zodSchema);
      break;
    case "number":
      // ajv divides as floating point does, zod does not.
      if (!Number.isInteger(json.multipleOf)) delete json.multipleOf;
      delete json.allOf;
      break;
    case "template_literal":
      delete json.pattern;
      break;
    case "object": {
      const { shape } = def;
      json.required = Object.keys(shape).filter((key) => needsValue(shape[key] as Zod));
      break;
    }
    case "tuple":
      if (!def.items.every(needsValue)) delete json.minItems;
      break;
    case "record":
      if (def.mode === "loose") keep(json, ["type"]);
      else if (!needsValue(def.valueType)) delete json.required;
      break;
    case "union":
      // Loosened, several may fit.
      json.anyOf ??= json.oneOf;
      delete json.oneOf;
      break;
    case "intersection":
      // zod refuses only keys that neither side knows.
      json.allOf = (json.allOf as JsonSchema[]).filter(({ $ref }) => $ref === undefined).map(withoutClosing);
      break;
  }
}

/** Whether zod alone knows what the schema takes. */
function isFree(schema: Zod): boolean {
  const def = schema._zod.def as z.core.$ZodTypeDef & { coerce?: boolean; in?: Zod };
  if (def.coerce || schema._zod.toJSONSchema) return true;
  if (def.type === "pipe") return def.in?._zod.def.type === "transform";
  return ["catch", "success", "promise", "custom", "transform"].includes(def.type);
}

/** Whether zod surely refuses a missing value. */
function needsValue(schema: Zod): boolean {
  if (isFree(schema)) return false;
  const def = (schema as z.core.$ZodTypes)._zod.def;
  switch (def.type) {
    case "union":
      return def.options.every(needsValue);
    case "intersection":
      return needsValue(def.left) || needsValue(def.right);
    case "pipe":
      return needsValue(def.in);
    case "nullable":
    case "readonly":
      return needsValue(def.innerType);
    case "literal":
      return !def.values.includes(undefined);
    default:
      return NEEDED.has(def.type);
  }
}

const NEEDED: ReadonlySet<string> = new Set([
  "string",
  "number",
  "int",
  "boolean",
  "null",
  "enum",
  "object",
  "array",
  "tuple",
  "record",
  "template_literal",
]);

function checksOf(schema: Zod): z.core.$ZodCheckDef[] {
  const { checks = [] } = schema._zod.def;
  // A format is its own first check.
  const own = schema._zod.traits.has("$ZodCheck") ? [schema as unknown as z.core.$ZodCheck] : [];
  return [...own, ...checks].map((check) => check._zod.def);
}

/** The regular expressions that zod holds a text against. */
function patternsOf(schema: Zod): RegExp[] {
  if (schema._zod.def.type !== "string") return [];
  const formats = checksOf(schema) as z.core.$ZodCheckStringFormatDef[];
  return formats.flatMap(({ check, pattern }) => (check === "string_format" && pattern ? pattern : []));
}

/** Leaves those patterns that mean the same in JSON Schema. */
function setPatterns(json: JsonSchema, schema: Zod): void {
  const formats = checksOf(schema) as (z.core.$ZodCheckStringFormatDef & { position?: number })[];
  // `includes` from a position takes later ones too, and its pattern does not.
  const misleading = new Set(
    formats.filter(({ position }) => position !== undefined).map((def) => def.pattern),
  );
  const sure = patternsOf(schema).filter((pattern) => pattern.flags === "" && !misleading.has(pattern));
  delete json.pattern;
  delete json.allOf;
  const [first, ...rest] = [...new Set(sure.map(({ source }) => source))];
  if (first !== undefined) json.pattern = first;
  if (rest.length > 0) json.allOf = rest.map((pattern) => ({ pattern }));
}

function withoutClosing(schema: JsonSchema): JsonSchema {
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  return schema;
}

function keep(json: JsonSchema, keywords: readonly string[]): void {
  for (const keyword of Object.keys(json)) if (!keywords.includes(keyword)) delete json[keyword];
}
