import { z } from "zod";
import { agentSpecSchema } from "../shared/agent.ts";
import type { JsonSchema } from "../shared/json-schema.ts";

/** Marks the places of agents; no keyword of JSON Schema. */
const AGENT = "x-agent";

/** What a workflow takes, as JSON Schema; whatever cannot be said so is open. Agents are one word of it. */
export function inputShape(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      // `describe` makes another schema of the same definition.
      if (zodSchema._zod.def !== agentSpecSchema._zod.def) return;
      const { description } = jsonSchema;
      for (const keyword of Object.keys(jsonSchema)) delete jsonSchema[keyword];
      Object.assign(jsonSchema, { [AGENT]: true, ...(description && { description }) });
    },
  }) as JsonSchema;
}

/** The same value with what `change` makes of each agent, or of the text that stands for one. */
export function mapAgents(
  value: unknown,
  shape: JsonSchema,
  change: (agent: unknown, path: string) => unknown,
  path: readonly string[] = [],
): unknown {
  if (AGENT in shape) return change(value, path.join("."));
  const choices = [shape.anyOf, shape.oneOf, shape.allOf].flatMap((list) => (list ?? []) as JsonSchema[]);
  const chosen = choices.reduce((changed, choice) => mapAgents(changed, choice, change, path), value);
  if (Array.isArray(chosen)) {
    const { prefixItems = [], items = {} } = shape as { prefixItems?: JsonSchema[]; items?: JsonSchema };
    return chosen.map((item, n) => mapAgents(item, prefixItems[n] ?? items, change, [...path, String(n)]));
  }
  if (typeof chosen !== "object" || chosen === null) return chosen;
  const { properties = {} } = shape as { properties?: Record<string, JsonSchema> };
  const others = typeof shape.additionalProperties === "object" ? shape.additionalProperties : {};
  const entries = Object.entries(chosen).map(([key, child]) => {
    const of = properties[key] ?? (others as JsonSchema);
    return [key, mapAgents(child, of, change, [...path, key])];
  });
  return Object.fromEntries(entries);
}

/** A field of an input, for people. */
export interface InputField {
  /** `stages`, `stages[].agent`, `scores.<name>`. */
  name: string;
  type: string;
  isRequired: boolean;
  default: unknown;
  description: string;
}

/** The fields of an object, each with those below it. */
export function inputFields(shape: JsonSchema, prefix = ""): InputField[] {
  const { properties = {}, required = [] } = shape as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  return Object.entries(properties).flatMap(([key, field]) => {
    const name = `${prefix}${key}`;
    const { default: value, description = "" } = field as { default?: unknown; description?: string };
    const below = field.items as JsonSchema | undefined;
    return [
      { name, type: typeText(field), isRequired: required.includes(key), default: value, description },
      ...inputFields(field, `${name}.`),
      ...(below ? inputFields(below, `${name}[].`) : []),
    ];
  });
}

/** The type of a value, in a word or two. */
export function typeText(shape: JsonSchema): string {
  if (AGENT in shape) return "agent";
  const {
    enum: values,
    const: only,
    type,
    items,
    anyOf,
  } = shape as {
    enum?: unknown[];
    const?: unknown;
    type?: string;
    items?: JsonSchema;
    anyOf?: JsonSchema[];
  };
  if (values) return values.join(" | ");
  if (only !== undefined) return String(only);
  if (anyOf) return anyOf.map(typeText).join(" | ");
  if (type === "array") return `list of ${items ? typeText(items) : "any"}`;
  return type ?? "any";
}
