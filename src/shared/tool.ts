import { z } from "zod";
import { byName } from "./by-name.ts";
import { schemaFault } from "./compile-schema.ts";
import { InputError } from "./errors.ts";
import { isObject, parseJson } from "./json.ts";
import type { JsonSchema } from "./json-schema.ts";
import { checkWith } from "./schema-check.ts";

/** The mark of tools, known across copies of this package: a worker and a module may have one each. */
const TOOL = Symbol.for("gluellm.tool");

const TOOL_DEFAULTS = { timeoutMs: 60_000, maxOutputBytes: 64 * 1024 } as const;
/** A tool's name as both dialects allow it. */
export const toolNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, - or _");

/** The context of a tool's run. */
export interface ToolContext {
  /** A signal that aborts at the tool's timeout, when the job is cancelled, and when its worker stops. */
  signal: AbortSignal;
  jobId: string;
  /** The `context` of the call that the model's call belongs to; `{}` when it has none. */
  context: Readonly<Record<string, unknown>>;
  /**
   * Our own id of the call, the same each time that it is run, also after a crash: a key for effects that must happen
   * once. The `callId` of the history is the model's, and not unique.
   */
  executionId: string;
}

/** Options of a tool. */
export interface ToolOptions<Parameters extends z.ZodType | JsonSchema> {
  /** The tool's name: 1 to 64 letters, digits, `-` or `_`. */
  name: string;
  /** What the tool does and when to call it, for the model. */
  description: string;
  /** The arguments: a zod object, or a JSON Schema of type `object`. */
  parameters: Parameters;
  /**
   * Runs the tool with parsed arguments. What it returns goes to the model as text, or as JSON; what it throws is told
   * to the model as an error.
   */
  execute: (
    args: Parameters extends z.ZodType ? z.output<Parameters> : Record<string, unknown>,
    context: ToolContext,
  ) => unknown;
  /** The longest run, in milliseconds; default 60,000. A tool that ignores its signal goes on unheard. */
  timeoutMs?: number;
  /** The longest output that the model sees, in bytes; default 65,536. The rest is cut off. */
  maxOutputBytes?: number;
  /**
   * Whether the tool is run again when its worker was lost while it ran; default true. False: nobody knows how far it
   * came, and the model is told so.
   */
  idempotent?: boolean;
}

/** A function that models may call; `defineTool` makes one. */
export interface Tool {
  readonly name: string;
  readonly description: string;
  /** The JSON Schema of the arguments. */
  readonly parameters: JsonSchema;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
  readonly idempotent: boolean;
  /** Returns the arguments of a call, parsed; absent when the JSON Schema is all there is to check them with. */
  parse?: ((args: unknown) => Promise<ParsedArguments>) | undefined;
  execute(args: never, context: ToolContext): unknown;
}

/** The arguments of a call, or what is wrong with them in words for the model. */
export type ParsedArguments = { ok: true; args: unknown } | { ok: false; problem: string };

const optionsSchema = z.strictObject({
  name: toolNameSchema,
  description: z.string().min(1).max(10_000),
  parameters: z.custom<z.ZodType | JsonSchema>(isObject, "must be a zod object or a JSON Schema"),
  execute: z.custom<Tool["execute"]>((value) => typeof value === "function", "must be a function"),
  timeoutMs: z.int().min(1).max(3_600_000).default(TOOL_DEFAULTS.timeoutMs),
  maxOutputBytes: z
    .int()
    .min(1)
    .max(4 * 1024 * 1024)
    .default(TOOL_DEFAULTS.maxOutputBytes),
  idempotent: z.boolean().default(true),
});

/**
 * ```ts
 * export const weather = defineTool({
 *   name: "get_weather",
 *   description: "The present weather in a city",
 *   parameters: z.object({ city: z.string() }),
 *   execute: async ({ city }) => (await fetch(`https://…/${encodeURIComponent(city)}`)).json(),
 * });
 * ```
 * @throws InputError naming the option that is unknown or wrong, the parameter that JSON Schema cannot express, or the
 * place where `parameters` are no JSON Schema.
 */
export function defineTool<const Parameters extends z.ZodType | JsonSchema>(
  options: ToolOptions<Parameters>,
): Tool {
  const what = `the tool "${(options as { name?: unknown } | undefined)?.name}"`;
  const { parameters, ...checked } = checkWith(optionsSchema, options, what);
  const tool: Tool & { [TOOL]: true } = {
    [TOOL]: true,
    ...checked,
    ...(isZod(parameters)
      ? { parameters: toJsonSchema(what, parameters), parse: (args) => parseWith(parameters, args) }
      : { parameters }),
  };
  if (tool.parameters.type !== "object")
    throw new InputError(`${what} is wrong at parameters: they must be an object`);
  const fault = isZod(parameters) ? undefined : schemaFault(parameters);
  if (fault) throw new InputError(`${what} is wrong at parameters: ${fault}`, undefined, "invalid_schema");
  // As `Agent.toJSON`: a workflow's input carries the name, by which workers know the tool.
  return Object.defineProperty(tool, "toJSON", { value: () => tool.name });
}

export function isTool(value: unknown): value is Tool {
  return typeof value === "object" && value !== null && TOOL in value;
}

/** Returns tools by their names. @throws InputError (`duplicate_tool`) when two of them share a name. */
export function toolsByName(tools: Iterable<Tool>): Map<string, Tool> {
  const hint = "define each tool once, outside of the calls, under a name of its own";
  const duplicate = ({ name }: Tool) =>
    new InputError(`two tools are called "${name}"`, hint, "duplicate_tool");
  return byName(tools, ({ name }) => name, duplicate);
}

/** Adds tools, all of them or none. @throws InputError (`duplicate_tool`) when another tool has the name of one. */
export function addTools(known: Map<string, Tool>, tools: readonly Tool[]): void {
  for (const [name, tool] of toolsByName([...known.values(), ...tools])) known.set(name, tool);
}

/** Returns a tool as a Chat Completions request names it. */
export function toToolDefinition({ name, description, parameters }: Tool) {
  return { type: "function", function: { name, description, parameters } };
}

/** Returns whether a schema is one of zod 4, of any copy: the module of the tools may have its own. */
function isZod(schema: z.ZodType | JsonSchema): schema is z.ZodType {
  return "_zod" in schema;
}

function toJsonSchema(what: string, schema: z.ZodType): JsonSchema {
  try {
    const { $schema: _, ...json } = z.toJSONSchema(schema, { io: "input" });
    return json;
  } catch (error) {
    throw new InputError(`${what} is wrong at parameters: ${(error as Error).message}`);
  }
}

async function parseWith(schema: z.ZodType, args: unknown): Promise<ParsedArguments> {
  const parsed = await schema.safeParseAsync(args);
  if (parsed.success) return { ok: true, args: parsed.data };
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${path.join(".") || "arguments"}: ${message}`,
  );
  return { ok: false, problem: problems.slice(0, 10).join("; ") };
}

/** Returns the arguments that a model wrote, `{}` for an empty text; undefined when they are not JSON. */
export function parseArguments(text: string): unknown {
  return parseJson(text.trim() === "" ? "{}" : text);
}
