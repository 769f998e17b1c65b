import type { JsonSchema } from "../../shared/json-schema.ts";
import type { Dialect } from "../../shared/providers.ts";

/** The part of JSON Schema that a vendor's structured output enforces, and how much of it. */
export interface SchemaSubset {
  /** Constraints that stay; the others are told in the description. */
  keeps(keyword: string, value: unknown, schema: JsonSchema): boolean;
  /** Whether `type` stands beside `enum` and `const`. */
  typesLiterals: boolean;
  allowsRecursion: boolean;
  maxOptional: number;
  maxUnions: number;
  maxProperties: number;
  maxEnumValues: number;
  maxDepth: number;
}

const FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
const BOUNDS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
/** Lookaround, back references, word boundaries and Unicode classes: not in the vendors' regular expressions. */
const RICH_PATTERN = /\(\?[=!<]|\\[1-9bBkpP]/;

/**
 * OpenAI's strict mode: all properties required, closed objects, no `allOf`. Source: the Structured Outputs guide,
 * "Supported schemas", and the SDK's `toStrictJsonSchema`; that it refuses lookaround in patterns is known from its
 * answers alone, and so is that a pattern beside a format makes it fail.
 */
const OPENAI_STRICT: SchemaSubset = {
  keeps(keyword, value, { format }) {
    if (keyword === "format") return FORMATS.includes(String(value));
    if (keyword === "pattern") return format === undefined && isPlainPattern(value);
    return BOUNDS.includes(keyword) || keyword === "minItems" || keyword === "maxItems";
  },
  typesLiterals: true,
  allowsRecursion: true,
  maxOptional: 0,
  maxUnions: Number.POSITIVE_INFINITY,
  maxProperties: 5000,
  maxEnumValues: 1000,
  maxDepth: 10,
};

/**
 * Anthropic's `output_config.format`. Source: its Structured Outputs guide, "JSON Schema limitations" and "Schema
 * complexity limits", and the SDK's `transformJSONSchema`.
 */
const ANTHROPIC: SchemaSubset = {
  keeps(keyword, value, { type }) {
    if (keyword === "format") return type === "string" && [...FORMATS, "uri"].includes(String(value));
    return keyword === "minItems" && (value === 0 || value === 1);
  },
  typesLiterals: false,
  allowsRecursion: false,
  maxOptional: 24,
  maxUnions: 16,
  maxProperties: Number.POSITIVE_INFINITY,
  maxEnumValues: Number.POSITIVE_INFINITY,
  maxDepth: 100,
};

export const NATIVE_SUBSETS: Record<Dialect, SchemaSubset> = { openai: OPENAI_STRICT, anthropic: ANTHROPIC };

export function isPlainPattern(pattern: unknown): boolean {
  return typeof pattern === "string" && !RICH_PATTERN.test(pattern);
}
