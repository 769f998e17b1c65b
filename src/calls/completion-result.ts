import { z } from "zod";
import type { ChatCompletion } from "../shared/chat.ts";
import { type Fallback, modelKeyOf, type ResultRecord, type ToolExecution } from "../shared/records.ts";
import type { StreamEvent } from "../shared/stream-events.ts";
import { parseArguments } from "../shared/tool.ts";
import type { CompletedRecord } from "../store/completed-record.ts";
import { type OutputOf, type OutputSchema, parseOutput } from "./output-schema.ts";

/** What the model wants to be run. */
export interface ToolCall {
  /** The model's; `tool_call_id` of the message that answers it. */
  id: string;
  name: string;
  /** Parsed JSON; the model's own text where it is none. */
  arguments: unknown;
}

/** What a finished job brought. */
export interface CompletionResult<Output = unknown> {
  jobId: string;
  /** The answer's text; empty when the model answered with tool calls only. */
  finalResponse: string;
  /** The structured answer, as the call's `schema` gives it; undefined when none was asked for. */
  output: Output;
  /** `stop`, `length`, `tool_calls`, `content_filter`; undefined when the provider names none. */
  finishReason: string | undefined;
  /** `provider:model` as it was asked; `rawResponse.model` is what the provider calls it. */
  model: string;
  /** The models that were given up before, in order, each with why; empty for a call with one model. */
  fallbacks: Fallback[];
  /** Of all calls of the job, as the provider reports them; zeros when it reports nothing. */
  tokensUsed: ResultRecord["tokens"];
  /** USD; null when no price of the model is known (`GLUELLM_PRICES` sets one). */
  costUsd: number | null;
  /** The provider's answer as a chat.completion body, whatever its dialect. */
  rawResponse: ChatCompletion;
  /** The provider's id of the call, for its support. */
  requestId: string;
  /** The answer was in the cache already: no call was made for it, and it cost nothing. */
  fromCache: boolean;
  /** What the model called in its last answer and nobody has run, as with `executeTools: false`. */
  toolCalls: ToolCall[];
  /** Calls of tools that the worker ran, failed ones included. */
  toolCallsMade: number;
  /** In the order in which the model asked for them. */
  toolExecutionHistory: ToolExecution[];
  /** Attempts it took, this one included; pauses the provider asked for are not counted. */
  attempts: number;
  /** Time of the provider calls that brought an answer, in milliseconds. */
  latencyMs: number;
  finishedAt: Date;
}

/** What `stream` yields; `result` comes last. */
export type CompletionEvent<Output = unknown> =
  | StreamEvent
  | { type: "result"; result: CompletionResult<Output> };

/** @throws StructuredOutputError when the caller's own schema refuses what its JSON Schema allowed. */
export async function toResult<S extends OutputSchema>(
  record: CompletedRecord,
  schema: S | undefined,
): Promise<CompletionResult<OutputOf<S>>> {
  const { jobId, tokens, costUsd, response, body, toolExecutions, attempts, latencyMs, finishedAt } = record;
  const [choice] = body.choices;
  return {
    jobId,
    finalResponse: textOf(record),
    output: (schema ? await parseOutput(schema, record.output) : record.output) as OutputOf<S>,
    finishReason: choice?.finish_reason ?? undefined,
    model: modelKeyOf(record),
    fallbacks: record.fallbacks ?? [],
    tokensUsed: tokens,
    costUsd,
    rawResponse: body,
    requestId: response.requestId,
    fromCache: record.fromCache ?? false,
    // In output mode `tool` the structured answer is a call too.
    toolCalls: record.output === undefined ? toolCallsOf(choice?.message) : [],
    toolCallsMade: toolExecutions.length,
    toolExecutionHistory: toolExecutions,
    attempts,
    latencyMs,
    finishedAt: new Date(finishedAt),
  };
}

/** The same whichever way the provider was asked for a structured answer. */
function textOf({ body, output }: CompletedRecord): string {
  const text = body.choices[0]?.message.content ?? "";
  return text === "" && output !== undefined ? JSON.stringify(output) : text;
}

const callsSchema = z.array(
  z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string(), arguments: z.string() }) }),
);

function toolCallsOf(message: Readonly<Record<string, unknown>> | undefined): ToolCall[] {
  const calls = callsSchema.safeParse(message?.tool_calls).data ?? [];
  return calls.map(({ id, function: { name, arguments: text } }) => ({
    id,
    name,
    arguments: argumentsOf(text),
  }));
}

function argumentsOf(text: string): unknown {
  const args = parseArguments(text);
  return args === undefined ? text : args;
}
