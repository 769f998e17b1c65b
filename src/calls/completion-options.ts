import { z } from "zod";
import { type Agent, agentNameSchema, isAgent } from "../shared/agent.ts";
import type { CacheOption } from "../shared/cache-option.ts";
import type { Message } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { type Guardrail, guardrailsOption } from "../shared/guardrail.ts";
import { isObject } from "../shared/json.ts";
import { type OutputMode, outputModeSchema } from "../shared/output-spec.ts";
import { type LaneName, laneSchema } from "../shared/records.ts";
import { MAX_TRACESTATE_CHARS, REQUEST_ID, TRACEPARENT } from "../shared/request-names.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { SystemPrompt } from "../shared/system-prompt.ts";
import type { Tool } from "../shared/tool.ts";
import { callHeadersSchema, type ProviderOptions, querySchema } from "../shared/wire-options.ts";
import type { ContentPart } from "./content-part.ts";
import type { ModelNames } from "./model-chain.ts";
import { callTimeoutOption, sharedOptions, toolsOrNamesOption } from "./option-schemas.ts";
import type { OutputSchema } from "./output-schema.ts";
import { type StepsOptions, stepsOptions } from "./steps-options.ts";

/** Parameters of the model's answer, in camelCase; each defaults to the provider's own value. */
export interface ChatParameters {
  /** How random the answer is, 0 to 2; Anthropic's models take 0 to 1. */
  temperature?: number;
  /** The longest answer, in tokens. */
  maxTokens?: number;
  /** The probability of the likeliest tokens together, of which each one is chosen, 0 to 1. */
  topP?: number;
  /** Texts at which the answer ends. */
  stop?: string | string[];
  /** A whole number with which equal requests have like answers, as far as the model can; not for Anthropic's models. */
  seed?: number;
  /** How much repeated words are avoided, -2 to 2; not for Anthropic's models. */
  frequencyPenalty?: number;
  /** How much new subjects are favoured, -2 to 2; not for Anthropic's models. */
  presencePenalty?: number;
  /** How much a model thinks before it answers, in the provider's words: `low`, `medium`, `high` … */
  reasoningEffort?: string;
  /**
   * Fields of the request's body in a provider's own words, by the name of a provider entry, or of a dialect (`openai`,
   * `anthropic`) for entries that are not named: `{ anthropic: { thinking: { type: "adaptive" }, betas: ["…"] } }`. Only those
   * of the entry that is called are sent. Default: the client's.
   */
  providerOptions?: ProviderOptions;
  /**
   * Headers of the provider calls. Those that say who calls, and those of the connection, are refused: they belong to the
   * provider entry. Default: the entry's.
   */
  headers?: Readonly<Record<string, string>>;
  /** Parameters in the address of the provider calls; default: the entry's. */
  query?: Readonly<Record<string, string>>;
  /** Further parameters in the words of OpenAI's Chat Completions (`response_format`, `tools` …), sent as they are. */
  extra?: Readonly<Record<string, unknown>>;
}

/** Options of a call that is enqueued. */
export interface EnqueueOptions<S extends OutputSchema = OutputSchema>
  extends ChatParameters,
    RunOptions<S>,
    StepsOptions {
  /**
   * `provider:model`, or a model of the default model's provider. Up to 10 of them: the next one answers when one is
   * down, out of quota, not allowed, too small for the prompt, or takes more than 10 s to have room.
   */
  model?: ModelNames;
  /** The system prompt, put before the messages; default: the client's, unless the messages have one. */
  system?: string | SystemPrompt;
  /** The id of the conversation that the call goes on with, or begins (see `glue.conversation()`); default: none. */
  conversation?: string;
  /** The rank among waiting jobs: lower comes first, from 0, the default, to 2,097,151. Rows of batches have 10. */
  priority?: number;
  /** The time before which the call is not made, in milliseconds from now; default 0. */
  delayMs?: number;
  /** The time after which no attempt starts, in milliseconds from the end of the delay; default 600,000. */
  deadlineMs?: number;
  /** The attempts at failures that may pass; a 429 uses up none. Default: the setting RETRY_MAX_ATTEMPTS, else 3. */
  maxAttempts?: number;
  /**
   * The time of one provider call up to the last byte of its answer, in milliseconds. Default: the setting
   * CALL_TIMEOUT_MS, else 120,000, and 600,000 with `stream`.
   */
  timeoutMs?: number;
  /**
   * The time without a byte after which a call with `stream` is given up, in milliseconds. Default: the setting
   * IDLE_TIMEOUT_MS, else 120,000.
   */
  idleTimeoutMs?: number;
  /**
   * The most USD that the provider calls of the job may cost together, those of tool loops and repeated attempts
   * included: the job fails before the call that could pass it (CostLimitError). Default: no limit.
   */
  maxCostUsd?: number;
  /**
   * The caller's name for the request, at most 255 characters. For 7 days, calls under the same key with the same model
   * and request are one job, paid once; another request under the key is refused (`idempotency_conflict`). Default:
   * none.
   */
  idempotencyKey?: string;
  /** What the request is called in the provider's log: 1 to 128 letters, digits, `_`, `.`, `:` or `-`. Default: a new id. */
  requestId?: string;
  /** The trace that the request belongs to, as W3C Trace Context writes it; kept with the job. Default: none. */
  traceparent?: string;
  /**
   * The agent that answers, with its prompt, tools, model, guardrails and handoffs where the call has none of its own; or only the name
   * of one, by which metrics count the job: 1 to 64 letters, digits, `-` or `_`. Default: none.
   */
  agent?: string | Agent;
  /** What vendors of tracing add to it; counts only beside `traceparent`. */
  tracestate?: string;
  /**
   * How its provider calls may be bought at half the price: `batch`, in provider batches and then in the tier flex, or `flex` alone;
   * what is not answered in time goes online. The job takes up no worker meanwhile. What a lane cannot carry (streamed answers,
   * several models, providers without it) goes online at once; the result's `laneMissed` says why. Default: online.
   */
  lane?: LaneName;
  /**
   * With `lane`, by when the answer should be there: a date, a span from now (`6h`, `90m`) or the next such time of day (`08:00`).
   * Default: `24h`.
   */
  by?: Date | string;
  /** Whether `stream` of the job's handles can read the answer's pieces while they come; default false. */
  stream?: boolean;
  /**
   * Whether the answer of an equal request will do, and this one is kept for others; with `{ ttlSeconds }` no answer
   * older than that will. Default: the client's, else true with `temperature: 0` only.
   */
  cache?: CacheOption;
}

/** Options of what the worker does beside the call. */
interface RunOptions<S extends OutputSchema = OutputSchema> {
  /**
   * The tools that the model may call, or names of tools that the workers have. In mode `fleet` workers must have
   * loaded them (`gluellm worker --module`). Default: the client's.
   */
  tools?: readonly (Tool | string)[];
  /**
   * Rules on what goes to the model and what comes of it, or names of rules that the workers have: beside those of the client.
   * Default: none.
   */
  guardrails?: readonly (Guardrail | string)[];
  /**
   * Whether the worker runs the tools, default true. False: the result has the model's calls in `toolCalls`. `once`: it
   * runs those of the model's first answer and ends there; `toolExecutionHistory` has what they brought.
   */
  executeTools?: boolean | "once";
  /** The answers with tool calls before the model has to answer without, 1 to 1,000; default 10. */
  maxToolIterations?: number;
  /**
   * The schema of a structured answer: of zod, or a JSON Schema of draft 2020-12. The worker checks the answer against
   * all of it, and the result's `output` is its value. Default: none, the answer is a text.
   */
  schema?: S;
  /** The name of the structured answer towards the model; default the schema's `id` or `title`, else `answer`. */
  schemaName?: string;
  /** The way in which the provider is asked for it; default as its entry says, `native` for the built-in ones. */
  outputMode?: OutputMode;
  /** The rounds that show the model where its answer does not fit, 0 to 10; default 2. */
  maxRepairs?: number;
}

/** Options of a call whose result is waited for. */
export interface CompleteOptions<S extends OutputSchema = OutputSchema> extends EnqueueOptions<S> {
  /** A signal that ends the waiting, and cancels the job unless it has an idempotency key; default: none. */
  signal?: AbortSignal;
}

/** A message in OpenAI's Chat Completions words. */
export type ChatMessage = Message & { content?: string | ContentPart[] | null };
/** A prompt, the parts of one user message, or whole messages. */
export type CompletionMessage = string | readonly ContentPart[] | readonly ChatMessage[];

const DAYS_MS = 86_400_000;
const MAX_DELAY_MS = 365 * DAYS_MS;

const optionsSchema: z.ZodType<EnqueueOptions> = z.strictObject({
  ...sharedOptions,
  conversation: z.string().optional(),
  temperature: z.number().optional(),
  maxTokens: z.number().optional(),
  topP: z.number().optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
  seed: z.int().optional(),
  frequencyPenalty: z.number().optional(),
  presencePenalty: z.number().optional(),
  reasoningEffort: z.string().optional(),
  extra: z.record(z.string(), z.unknown()).optional(),
  headers: callHeadersSchema.optional(),
  query: querySchema.optional(),
  priority: z.int().min(0).max(2_097_151).optional(),
  delayMs: z.int().min(0).max(MAX_DELAY_MS).optional(),
  deadlineMs: z.int().min(1).max(MAX_DELAY_MS).optional(),
  maxAttempts: z.int().min(1).max(1000).optional(),
  timeoutMs: callTimeoutOption,
  idleTimeoutMs: callTimeoutOption,
  idempotencyKey: z.string().min(1).max(255).optional(),
  requestId: z.string().regex(REQUEST_ID, "must be 1 to 128 letters, digits, _, ., : or -").optional(),
  traceparent: z.string().regex(TRACEPARENT, "is no traceparent").optional(),
  agent: z
    .union([agentNameSchema, z.custom<Agent>(isAgent, "must be an Agent, or the name of one")])
    .optional(),
  tracestate: z.string().max(MAX_TRACESTATE_CHARS).optional(),
  stream: z.boolean().optional(),
  lane: laneSchema.optional(),
  by: z.union([z.date(), z.string()]).optional(),
  ...stepsOptions,
  tools: toolsOrNamesOption,
  guardrails: guardrailsOption,
  executeTools: z.union([z.boolean(), z.literal("once")]).optional(),
  schema: z.custom<OutputSchema>(isObject, "must be a zod schema or a JSON Schema").optional(),
  schemaName: z.string().optional(),
  outputMode: outputModeSchema.optional(),
  maxRepairs: z.int().min(0).max(10).optional(),
});

/** The fields that the client itself sets: others would be overridden unseen, or would break the queue. */
const OWN_FIELDS = ["model", "messages", "stream", "stream_options"];

/** Returns checked options. @throws InputError naming the option that is unknown or wrong. */
export function checkOptions(options: EnqueueOptions): EnqueueOptions {
  const checked = checkWith(optionsSchema, options, "the options", "are");
  const field = OWN_FIELDS.find((name) => name in (checked.extra ?? {}));
  if (field) throw new InputError(`the options are wrong at extra.${field}: the client sets it`);
  if (checked.by !== undefined && checked.lane === undefined)
    throw new InputError("the options are wrong at by: it belongs to lane");
  if (checked.schema && checked.executeTools === "once")
    throw new InputError('the options are wrong at executeTools: "once" leaves no answer for the schema');
  if (checked.toolChoice !== undefined && checked.extra?.tool_choice !== undefined)
    throw new InputError("the options are wrong at extra.tool_choice: toolChoice sets it");
  if (checked.stream && Number(checked.extra?.n ?? 1) > 1)
    throw new InputError("the options are wrong at extra.n: a streamed answer has one choice");
  return checked;
}
