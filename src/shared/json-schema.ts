import { isObject, parseJson } from "./json.ts";

/** A JSON Schema of draft 2020-12. */
export type JsonSchema = { [keyword: string]: unknown };

const ONE_SCHEMA = [
  "items",
  "additionalProperties",
  "not",
  "if",
  "then",
  "else",
  "contains",
  "propertyNames",
  "unevaluatedItems",
  "unevaluatedProperties",
  "contentSchema",
];
const SCHEMA_LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"];
const SCHEMA_MAPS = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/**
 * A copy with `change` applied to every schema in it, the innermost first. A property's name is no keyword, and what
 * stands in `enum`, `const`, `default` and `examples` is data: both stay as they are.
 */
export function mapSchemas(schema: unknown, change: (schema: JsonSchema) => JsonSchema): unknown {
  if (!isObject(schema)) return schema;
  const copy = Object.entries(schema).map(([keyword, value]) => {
    if (ONE_SCHEMA.includes(keyword)) return [keyword, mapSchemas(value, change)];
    if (SCHEMA_LISTS.includes(keyword) && Array.isArray(value)) {
      return [keyword, value.map((item) => mapSchemas(item, change))];
    }
    if (SCHEMA_MAPS.includes(keyword) && isObject(value)) {
      const mapped = Object.entries(value).map(([name, item]) => [name, mapSchemas(item, change)]);
      return [keyword, Object.fromEntries(mapped)];
    }
    return [keyword, value];
  });
  return change(Object.fromEntries(copy));
}

/** Returns how deep objects and lists of a JSON text stand in each other. */
export function nestingOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    if (token === "{" || token === "[") deepest = Math.max(deepest, ++depth);
    else if (token === "}" || token === "]") depth--;
  }
  return deepest;
}

const TOLD = "JSON Schema: ";

/** The schema with keywords that a provider does not take told in its description, for the model to read. */
export function tellKeywords(schema: JsonSchema, keywords: JsonSchema): JsonSchema {
  if (Object.keys(keywords).length === 0) return schema;
  const words = TOLD + JSON.stringify(keywords);
  const { description } = schema;
  return { ...schema, description: typeof description === "string" ? `${description}\n${words}` : words };
}

/** The keywords that a description tells. */
export function toldKeywords({ description }: JsonSchema): JsonSchema {
  const line = typeof description === "string" ? (description.split("\n").at(-1) ?? "") : "";
  if (!line.startsWith(TOLD)) return {};
  const keywords = parseJson(line.slice(TOLD.length));
  return isObject(keywords) ? keywords : {};
}
