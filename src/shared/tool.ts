import { z } from "zod";
import { DEFAULT_APPROVAL_MS, MAX_APPROVAL_MS } from "./approval.ts";
import { byName } from "./by-name.ts";
import { schemaFault } from "./compile-schema.ts";
import { InputError } from "./errors.ts";
import { isObject, parseJson } from "./json.ts";
import type { JsonSchema } from "./json-schema.ts";
import type { Logger } from "./logger.ts";
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
   * Runs the tool with parsed arguments. What it returns goes to the model as text, or as JSON, or as what `toolImage`, `toolFile`
   * and `toolError` make, alone or in a list with texts; what it throws is told to the model as an error.
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
  /**
   * Whether a person has to allow each call, or a function that says so of a call's parsed arguments; default false. The
   * job is suspended meanwhile: it holds no place and no lock, and its deadline does not come nearer.
   */
  needsApproval?:
    | boolean
    | ((
        args: Parameters extends z.ZodType ? z.output<Parameters> : Record<string, unknown>,
        context: Pick<ToolContext, "jobId" | "context">,
      ) => boolean | Promise<boolean>);
  /** The time for a person's answer, in milliseconds, up to 28 days; default 86,400,000 (a day). */
  approvalTimeoutMs?: number;
  /**
   * What follows when nobody has answered in time: `reject`, the default, as if a person had said no; `approve`; `fail`, the job
   * fails (`approval_timeout`).
   */
  onApprovalTimeout?: "reject" | "approve" | "fail";
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
  /** Present when a person may have to allow calls. */
  readonly approval?: ApprovalRule | undefined;
  /** Returns the arguments of a call, parsed; absent when the JSON Schema is all there is to check them with. */
  parse?: ((args: unknown) => Promise<ParsedArguments>) | undefined;
  execute(args: never, context: ToolContext): unknown;
}

/** A tool of a set, as it stood when the set was asked: JSON, to be kept with a job. */
export interface ListedTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: JsonSchema;
  readonly idempotent: boolean;
  /** What the set itself calls it. */
  readonly ownName: string;
}

/**
 * Tools that are only known when a job needs them, such as those of an MCP server. In lists of tools, and in jobs, it stands under
 * its name for all of them.
 */
export interface ToolSet extends Tool {
  /** Returns the set for one worker process; nothing is begun yet. */
  open(host: ToolSetHost): OpenToolSet;
}

/** The process that opens a set. */
export interface ToolSetHost {
  logger: Logger;
  /** The data folder, for what has to outlive the process. */
  dataDir: string;
  /** Of the package. */
  version: string;
}

/** A set of tools as one worker process has it, for all its jobs. */
export interface OpenToolSet {
  /** Returns the tools that it has now. @throws GlueError `tool_server_unavailable`; InputError; the signal's reason */
  list(signal: AbortSignal): Promise<ListedTool[]>;
  /** Returns tools that were listed, here or in an earlier process, to be called. */
  toTools(listed: readonly ListedTool[]): Tool[];
  close(): Promise<void>;
}

export function isToolSet(tool: Tool): tool is ToolSet {
  return "open" in tool;
}

/** When a person has to allow a call, and what follows when nobody answers. */
export interface ApprovalRule {
  /** Whether a call needs it; absent: each one. */
  when?:
    | ((args: never, context: Pick<ToolContext, "jobId" | "context">) => boolean | Promise<boolean>)
    | undefined;
  readonly timeoutMs: number;
  readonly onTimeout: "reject" | "approve" | "fail";
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
  needsApproval: z
    .union([z.boolean(), z.custom<NonNullable<ApprovalRule["when"]>>((value) => typeof value === "function")])
    .default(false),
  approvalTimeoutMs: z.int().min(1).max(MAX_APPROVAL_MS).default(DEFAULT_APPROVAL_MS),
  onApprovalTimeout: z.enum(["reject", "approve", "fail"]).default("reject"),
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
  const { parameters, needsApproval, approvalTimeoutMs, onApprovalTimeout, ...checked } = checkWith(
    optionsSchema,
    options,
    what,
  );
  const when = typeof needsApproval === "function" ? needsApproval : undefined;
  const approval = needsApproval && { when, timeoutMs: approvalTimeoutMs, onTimeout: onApprovalTimeout };
  const tool: Tool & { [TOOL]: true } = {
    [TOOL]: true,
    ...checked,
    ...(approval && { approval }),
    ...(isZod(parameters)
      ? { parameters: toJsonSchema(what, parameters), parse: (args) => parseWith(parameters, args) }
      : { parameters }),
  };
  if (tool.parameters.type !== "object")
    throw new InputError(`${what} is wrong at parameters: they must be an object`);
  const fault = isZod(parameters) ? undefined : schemaFault(parameters);
  if (fault) throw new InputError(`${what} is wrong at parameters: ${fault}`, undefined, "invalid_schema");
  return carriedByName(tool);
}

/** Returns tools that `open` finds, under one name. */
export function toolSet(name: string, description: string, open: ToolSet["open"]): ToolSet {
  const set: ToolSet & { [TOOL]: true } = {
    [TOOL]: true,
    ...TOOL_DEFAULTS,
    ...{ name, description, open, idempotent: false, parameters: { type: "object" } },
    execute: () => {
      throw new InputError(`"${name}" is a set of tools, and no tool itself`);
    },
  };
  return carriedByName(set);
}

/** As `Agent.toJSON`: a workflow's input carries the name, by which workers know the tool. */
function carriedByName<T extends Tool>(tool: T): T {
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
