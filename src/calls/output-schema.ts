import { z } from "zod";
import { schemaFault } from "../shared/compile-schema.ts";
import { type ErrorContext, StructuredOutputError } from "../shared/errors.ts";
import { asJson, isObject } from "../shared/json.ts";
import { type JsonSchema, mapSchemas } from "../shared/json-schema.ts";
import { type OutputMode, type OutputSpec, outputSpecSchema } from "../shared/output-spec.ts";
import { thrownText } from "../shared/thrown-text.ts";
import { invalidSchema, surelyOfZod, toldOfZod } from "./zod-schema.ts";

/** A schema of a structured answer: a zod 4 schema, or a JSON Schema of draft 2020-12. */
export type OutputSchema = z.core.$ZodType | JsonSchema;
/** The type of the answer's value; unknown for a plain JSON Schema. */
export type OutputOf<S extends OutputSchema> = S extends z.core.$ZodType ? z.core.output<S> : unknown;

/** Options of a structured answer. */
export interface OutputOptions {
  /** The name of the answer towards the model; default the schema's `id` or `title`, else `answer`. */
  name?: string;
  /** The way to ask for it; default as the provider entry says, `native` for the built-in ones. */
  mode?: OutputMode;
  /** The rounds that show the model what was wrong with its answer, 0 to 10; default 2. */
  maxRepairs?: number;
}

/**
 * Returns what a job says of its structured answer.
 * @throws InputError `invalid_schema` naming the place of what JSON Schema cannot say, or of what is none
 */
export function toOutputSpec(schema: OutputSchema, options: OutputOptions = {}): OutputSpec {
  const { $schema: _dialect, ...given } = isZod(schema) ? toldOfZod(schema) : plainSchema(schema);
  checkReferences(given);
  const { json, title } = atRoot(given);
  const isWrapped = json.type !== "object" || json.$ref !== undefined;
  const spec = outputSpecSchema.safeParse({
    name: options.name ?? (title.replace(/[^A-Za-z0-9_-]+/g, "_").slice(0, 64) || "answer"),
    schema: isWrapped ? wrap(json) : json,
    wrapped: isWrapped,
    mode: options.mode,
    maxRepairs: options.maxRepairs,
  });
  if (!spec.success) {
    const [issue] = spec.error.issues;
    throw invalidSchema(`at ${issue?.path.join(".")}: ${issue?.message}`);
  }
  const fault = schemaFault(spec.data.schema);
  if (fault) throw invalidSchema(fault, "give a JSON Schema of draft 2020-12");
  return spec.data;
}

/**
 * Returns what the worker checks an answer against, where the schema that the model is told says more than zod does;
 * undefined for a plain JSON Schema.
 */
export function toOutputCheck(schema: OutputSchema, { wrapped }: OutputSpec): JsonSchema | undefined {
  if (!isZod(schema)) return undefined;
  const { $schema: _dialect, ...json } = surelyOfZod(schema);
  return wrapped ? wrap(json) : json;
}

/**
 * Returns the value as the caller's zod schema gives it: transforms, defaults and refinements have their say here.
 * @param context of the error, such as the job's id
 * @throws StructuredOutputError when a rule that JSON Schema cannot say refuses it.
 */
export async function parseOutput<S extends OutputSchema>(
  schema: S,
  value: unknown,
  context: ErrorContext = {},
): Promise<OutputOf<S>> {
  if (!isZod(schema)) return value as OutputOf<S>;
  const parsed = await parsedBy(schema, value);
  if ("data" in parsed) return parsed.data as OutputOf<S>;
  throw new StructuredOutputError({
    message: "the answer fits what the worker checks, and the caller's own schema refuses it",
    hint: "a rule that JSON Schema cannot say refuses it; see `rejected` for where, and describe the rule to the model",
    rejected: { text: JSON.stringify(value), problem: parsed.problem },
    context,
  });
}

/** Code of the schema's own may throw, too. */
async function parsedBy(
  schema: z.core.$ZodType,
  value: unknown,
): Promise<{ data: unknown } | { problem: string }> {
  try {
    const parsed = await z.safeParseAsync(schema, value);
    if (parsed.success) return { data: parsed.data };
    const lines = parsed.error.issues.map(
      ({ path, message }) => `at /${path.map(String).join("/")}: ${message}`,
    );
    return { problem: lines.slice(0, 10).join("\n") };
  } catch (error) {
    return { problem: `the schema's own code threw: ${thrownText(error).slice(0, 1000)}` };
  }
}

function isZod(schema: OutputSchema): schema is z.core.$ZodType {
  return isObject(schema) && "_zod" in schema;
}

function plainSchema(schema: JsonSchema): JsonSchema {
  if (isObject(schema) && typeof schema.safeParse === "function") {
    throw invalidSchema("it is a schema of an older zod", "import z from zod 4");
  }
  try {
    const json = asJson(schema);
    if (isObject(json)) return json;
  } catch {
    // Cyclic, or with a bigint.
  }
  throw invalidSchema("it is neither a zod schema nor a JSON Schema");
}

function checkReferences(json: JsonSchema): void {
  mapSchemas(json, (at) => {
    if (typeof at.$ref === "string" && !at.$ref.startsWith("#")) {
      throw invalidSchema(
        `$ref "${at.$ref.slice(0, 200)}" leads out of it`,
        "put what it refers to under $defs",
      );
    }
    return at;
  });
}

/** Returns the schema at the root: zod keeps one with an `id` under `$defs`, and leaves a reference. */
function atRoot(given: JsonSchema): { json: JsonSchema; title: string } {
  const { $ref, $defs } = given;
  const id = /^#\/\$defs\/([^/~%]+)$/.exec(String($ref))?.[1];
  const target = id !== undefined && isObject($defs) ? $defs[id] : undefined;
  if (isObject(target)) return { json: { ...target, $defs }, title: id ?? "" };
  return { json: given, title: typeof given.title === "string" ? given.title : "" };
}

/** Returns an object's schema with the given one under `value`, and its references led there. */
function wrap({ $defs, ...json }: JsonSchema): JsonSchema {
  const defs = isObject($defs) ? $defs : {};
  let name = "value";
  while (name in defs) name += "_";
  const moved: string[] = [];
  const inner = mapSchemas({ ...json, $defs: defs }, (at) => {
    if (typeof at.$ref !== "string" || at.$ref.startsWith("#/$defs/") || !/^#(\/|$)/.test(at.$ref)) return at;
    moved.push(at.$ref);
    return { ...at, $ref: `#/$defs/${name}${at.$ref.slice(1)}` };
  }) as JsonSchema;
  const { $defs: innerDefs, ...root } = inner;
  const isRecursive = moved.length > 0;
  const allDefs = { ...(isObject(innerDefs) && innerDefs), ...(isRecursive && { [name]: root }) };
  return {
    type: "object",
    properties: { value: isRecursive ? { $ref: `#/$defs/${name}` } : root },
    required: ["value"],
    additionalProperties: false,
    ...(Object.keys(allDefs).length > 0 && { $defs: allDefs }),
  };
}
