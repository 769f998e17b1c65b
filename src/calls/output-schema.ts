import { z } from "zod";
import { schemaFault } from "../shared/compile-schema.ts";
import { InputError, StructuredOutputError } from "../shared/errors.ts";
import { asJson, isObject } from "../shared/json.ts";
import { type JsonSchema, mapSchemas } from "../shared/json-schema.ts";
import { type OutputMode, type OutputSpec, outputSpecSchema } from "../shared/output-spec.ts";

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

const HINT = "use what JSON can hold: objects, lists, texts, numbers, booleans, null, and unions of them";

/**
 * Returns what a job says of its structured answer.
 * @throws InputError `invalid_schema` naming the place of what JSON Schema cannot say, or of what is none
 */
export function toOutputSpec(schema: OutputSchema, options: OutputOptions = {}): OutputSpec {
  const { $schema: _dialect, ...given } = isZod(schema) ? fromZod(schema) : plainSchema(schema);
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
 * Returns the value as the caller's zod schema gives it: transforms, defaults and refinements have their say here.
 * @throws StructuredOutputError when a rule that JSON Schema cannot say refuses it.
 */
export async function parseOutput<S extends OutputSchema>(schema: S, value: unknown): Promise<OutputOf<S>> {
  if (!isZod(schema)) return value as OutputOf<S>;
  const parsed = await z.safeParseAsync(schema, value);
  if (parsed.success) return parsed.data as OutputOf<S>;
  const problem = parsed.error.issues
    .slice(0, 10)
    .map(({ path, message }) => `at /${path.map(String).join("/")}: ${message}`)
    .join("\n");
  throw new StructuredOutputError({
    message: "the answer fits the JSON Schema, and the caller's own schema refuses it",
    hint: "a refinement or transform of the schema refuses it; see `rejected` for where",
    rejected: { text: JSON.stringify(value), problem },
  });
}

function isZod(schema: OutputSchema): schema is z.core.$ZodType {
  return isObject(schema) && "_zod" in schema;
}

function fromZod(schema: z.core.$ZodType): JsonSchema {
  try {
    return z.toJSONSchema(schema, { io: "input" }) as JsonSchema;
  } catch (error) {
    throw invalidSchema(`at ${untoldPlaceOf(schema)}: ${(error as Error).message}`);
  }
}

/** Returns the place of what JSON Schema cannot say: zod's own error does not tell it. */
function untoldPlaceOf(schema: z.core.$ZodType): string {
  let place = "/";
  try {
    z.toJSONSchema(schema, {
      io: "input",
      unrepresentable: "any",
      override({ zodSchema, jsonSchema, path }) {
        const isAny = ["any", "unknown"].includes(zodSchema._zod.def.type);
        if (!isAny && Object.keys(jsonSchema).length === 0) place = `/${path.join("/")}`;
      },
    });
  } catch {
    // Then the root is all that is known.
  }
  return place;
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

function invalidSchema(reason: string, hint = HINT): InputError {
  return new InputError(`the schema of the answer cannot be used: ${reason}`, hint, "invalid_schema");
}
