import type { ChatCompletion, FinishReason } from "../shared/chat.ts";
import type { GuardrailReport } from "../shared/guardrail.ts";
import {
  type Fallback,
  type LaneName,
  modelKeyOf,
  type ResultRecord,
  type ToolExecution,
} from "../shared/records.ts";
import type { StreamEvent } from "../shared/stream-events.ts";
import { parseArguments } from "../shared/tool.ts";
import type { CompletedRecord } from "../store/completed-record.ts";
import { type OutputOf, type OutputSchema, parseOutput } from "./output-schema.ts";

/** A call of a tool that the model wants to be run. */
export interface ToolCall {
  /** The model's id of the call: `tool_call_id` of the message that answers it. */
  id: string;
  /** The name of the tool. */
  name: string;
  /** The arguments as parsed JSON; the model's own text where it is none. */
  arguments: unknown;
}

/** The result of a finished job. */
export interface CompletionResult<Output = unknown> {
  /** The job's id, which opens its handle again. */
  jobId: string;
  /** The answer's text; what the model says of a refusal; empty when it answered with tool calls only. */
  finalResponse: string;
  /** What the model thought before its last answer, no part of its text; undefined when its provider tells nothing. */
  reasoning: string | undefined;
  /** The structured answer, as the call's `schema` gives it; undefined when none was asked for. */
  output: Output;
  /** Why the answer ended; `content_filter` for a refusal, too. `stop` or `tool_calls` when the provider is silent. */
  finishReason: FinishReason | undefined;
  /** The model that answered, as `provider:model`; `rawResponse.model` is what the provider calls it. */
  model: string;
  /** The models that were given up before, in order, each with the reason; empty for a call with one model. */
  fallbacks: Fallback[];
  /**
   * The tokens of all calls of the job, as their providers report them; `estimated: true` when one did not, and some of it is a
   * guess by the length of the texts.
   */
  tokensUsed: ResultRecord["tokens"];
  /** The cost in USD; null when no price of the model is known (`GLUELLM_PRICES` sets one). */
  costUsd: number | null;
  /** The provider's answer as a chat.completion body, whatever its dialect. */
  rawResponse: ChatCompletion;
  /** The provider's id of the call that answered, for its support. */
  requestId: string;
  /** Whether the answer was in the cache already: no call was made for it, and it cost nothing. */
  fromCache: boolean;
  /** The similarity of the question whose answer the semantic cache gave, up to 1; undefined for any other answer. */
  similarity: number | undefined;
  /** How the last answer was bought, where that was not online: in a provider batch, or in the tier flex. */
  lane?: LaneName;
  /** Why a call went online though a lane was asked for. */
  laneMissed?: string;
  /** The tool calls of the last answer that nobody has run, as with `executeTools: false`. */
  toolCalls: ToolCall[];
  /** The number of tool calls that the worker ran, failed ones included. */
  toolCallsMade: number;
  /** The tool calls that the worker ran, in the order in which the model asked for them. */
  toolExecutionHistory: ToolExecution[];
  /** The agent that answered, after all handoffs; undefined for a call without one. */
  agent: string | undefined;
  /** What guardrails said, in their order, but for what they allowed; in shadow mode nothing followed from it. */
  guardrails: GuardrailReport[];
  /** The number of attempts, this one included; pauses that the provider asked for are not counted. */
  attempts: number;
  /** The time of the provider calls that brought an answer, in milliseconds. */
  latencyMs: number;
  /** The time when the result was recorded. */
  finishedAt: Date;
}

/** A value of which anything may be missing yet. */
export type DeepPartial<T> = T extends readonly (infer Item)[]
  ? DeepPartial<Item>[]
  : T extends object
    ? { [Key in keyof T]?: DeepPartial<T[Key]> }
    : T;

/** An event that `stream` yields; `result` comes last. */
export type CompletionEvent<Output = unknown> =
  | StreamEvent
  /**
   * The structured answer so far, each time that it has grown, as the model writes it: nothing of the schema has been
   * checked or applied. It is void after `turn` and `restart`.
   */
  | { type: "partialOutput"; output: DeepPartial<Output> }
  | { type: "result"; result: CompletionResult<Output> };

/**
 * Returns the result in a record.
 * @throws StructuredOutputError when the caller's own schema refuses what its JSON Schema allowed.
 */
export async function toResult<S extends OutputSchema>(
  record: CompletedRecord,
  schema: S | undefined,
): Promise<CompletionResult<OutputOf<S>>> {
  const { jobId, tokens, costUsd, response, body, toolExecutions, attempts, latencyMs, finishedAt } = record;
  const [choice] = body.choices;
  return {
    jobId,
    finalResponse: textOf(record),
    output: (schema
      ? await parseOutput(schema, record.output, { jobId, model: modelKeyOf(record) })
      : record.output) as OutputOf<S>,
    reasoning: choice?.message.reasoning,
    finishReason: choice?.finish_reason,
    model: modelKeyOf(record),
    fallbacks: record.fallbacks ?? [],
    tokensUsed: tokens,
    costUsd,
    rawResponse: body,
    requestId: response.requestId,
    fromCache: record.fromCache ?? false,
    similarity: record.similarity,
    ...(record.lane && { lane: record.lane }),
    ...(record.laneMissed && { laneMissed: record.laneMissed }),
    // In output mode `tool` the structured answer is a call too.
    toolCalls: record.output === undefined ? toolCallsOf(choice?.message) : [],
    toolCallsMade: toolExecutions.length,
    toolExecutionHistory: toolExecutions,
    agent: record.agent,
    guardrails: record.guardrails ?? [],
    attempts,
    latencyMs,
    finishedAt: new Date(finishedAt),
  };
}

/** Returns the answer's text, the same whichever way the provider was asked for a structured answer. */
function textOf({ body, output }: CompletedRecord): string {
  const { content, refusal } = body.choices[0]?.message ?? {};
  return content || (output === undefined ? (refusal ?? "") : JSON.stringify(output));
}

function toolCallsOf(message: ChatCompletion["choices"][number]["message"] | undefined): ToolCall[] {
  return (message?.tool_calls ?? []).map(({ id, function: { name, arguments: text } }) => ({
    id,
    name,
    arguments: argumentsOf(text),
  }));
}

function argumentsOf(text: string): unknown {
  const args = parseArguments(text);
  return args === undefined ? text : args;
}
