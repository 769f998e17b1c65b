import { inlineOrBlob, isBlobRef, readBlob } from "../shared/blobs.ts";
import { type CompletionPayload, DEFAULT_MAX_TOOL_ITERATIONS } from "../shared/catalog.ts";
import { type ChatRequest, chatRequestSchema, type Message } from "../shared/chat.ts";
import type { ResultRecord, ToolExecution } from "../shared/records.ts";
import { untilTaken } from "../shared/redis-refusal.ts";
import { type Tool, toToolDefinition } from "../shared/tool.ts";
import { type CallInput, callProvider } from "./attempt.ts";
import type { WorkerContext } from "./context.ts";
import { withHistory, withNamedTools } from "./conversation.ts";
import type { FinishedCall, Journal } from "./journal.ts";
import { runToolCalls, toolCallsOf, toToolMessage } from "./tool-calls.ts";

export interface CompletionRun extends Omit<CallInput, "request" | "requestId"> {
  payload: CompletionPayload;
  /** Present when the job may take several calls. */
  journal: Journal | undefined;
  /** BullMQ's count of attempts used up. */
  attemptsMade: number;
}

export interface CompletionOutcome {
  /** To be written. */
  record: ResultRecord;
  /** What the job adds to its conversation. */
  added: Message[];
}

/**
 * A job's provider calls: asks, runs the tools that the answer calls, asks again with their results, until an answer
 * calls none. What the journal has is not done again.
 * @throws as `callProvider` does; FencedError when another worker has the job; GlueError `conversation_lost`
 */
export async function runCompletion(context: WorkerContext, run: CompletionRun): Promise<CompletionOutcome> {
  const { payload, journal } = run;
  const tools = (payload.tools ?? []).flatMap((name) => context.tools.get(name) ?? []);
  const request = withTools(await loadRequest(context, payload), tools);
  const maxIterations = payload.maxToolIterations ?? DEFAULT_MAX_TOOL_ITERATIONS;
  const messages = [...request.messages];
  const calls: FinishedCall[] = [];
  const executions: ToolExecution[] = [];
  for (let turn = 0; ; turn++) {
    const isLast = turn >= maxIterations;
    const call =
      journal?.callOf(turn) ??
      (await ask(context, run, { ...request, messages, ...(isLast && WITHOUT_TOOLS) }, turn));
    calls.push(call);
    const toolCalls = journal && !isLast && tools.length > 0 ? toolCallsOf(call.body) : [];
    if (!journal || toolCalls.length === 0) break;
    const { jobId, signal, logger } = run;
    const done = await runToolCalls({ tools, journal, jobId, turn, signal, logger }, toolCalls);
    executions.push(...done);
    messages.push(answerOf(call), ...done.map(toToolMessage));
  }
  const record = await toRecord(context, run, calls, tools.length > 0 ? executions : undefined);
  const answer = answerOf(calls.at(-1) as FinishedCall);
  // Providers refuse messages without any content.
  const hasContent = answer.content || answer.tool_calls?.length;
  return { record, added: [...messages.slice(request.messages.length), ...(hasContent ? [answer] : [])] };
}

const WITHOUT_TOOLS = { tool_choice: "none" };

async function ask(
  context: WorkerContext,
  run: CompletionRun,
  request: ChatRequest,
  turn: number,
): Promise<FinishedCall> {
  const { requestId } = run.payload;
  const call = await callProvider(context, {
    ...run,
    request,
    requestId: turn === 0 ? requestId : `${requestId}-${turn}`,
  });
  await run.journal?.append({ kind: "call", call, attemptsMade: run.attemptsMade });
  return call;
}

function withTools(request: ChatRequest, tools: readonly Tool[]): ChatRequest {
  return tools.length > 0 ? { ...request, tools: tools.map(toToolDefinition) } : request;
}

function answerOf({ body }: FinishedCall): Message {
  const message = body.choices[0]?.message as Pick<Message, "content" | "tool_calls"> | undefined;
  return { role: "assistant", content: message?.content ?? null, tool_calls: message?.tool_calls };
}

async function loadRequest(
  context: WorkerContext,
  { request, conversation }: CompletionPayload,
): Promise<ChatRequest> {
  const { redis, keys } = context;
  const own = isBlobRef(request) ? chatRequestSchema.parse(await readBlob(redis, keys, request)) : request;
  return conversation ? withNamedTools(await withHistory(context, conversation, own)) : own;
}

async function toRecord(
  { redis, keys }: WorkerContext,
  { jobId, logger, attemptsMade }: CompletionRun,
  calls: readonly FinishedCall[],
  executions: readonly ToolExecution[] | undefined,
): Promise<ResultRecord> {
  const last = calls.at(-1) as FinishedCall;
  const keep = <T>(value: T) => untilTaken(logger, () => inlineOrBlob(redis, keys, `result:${jobId}`, value));
  const { entry, model, statusCode, requestId, body } = last;
  return {
    v: 1,
    jobId,
    status: "succeeded",
    entry,
    model,
    response: { statusCode, requestId, body: await keep(body) },
    tokens: sumOfTokens(calls),
    calls: calls.length,
    ...(executions && { toolExecutions: await keep([...executions]) }),
    costUsd: sumOfCosts(calls),
    attempts: attemptsMade + 1,
    latencyMs: Math.round(calls.reduce((sum, { latencyMs }) => sum + latencyMs, 0)),
    finishedAt: Date.now(),
  };
}

function sumOfTokens(calls: readonly FinishedCall[]): ResultRecord["tokens"] {
  const sum = (field: "prompt" | "completion" | "total" | "cached" | "cacheWritten") =>
    calls.reduce((total, { tokens }) => total + (tokens[field] ?? 0), 0);
  const cacheWritten = sum("cacheWritten");
  return {
    prompt: sum("prompt"),
    completion: sum("completion"),
    total: sum("total"),
    cached: sum("cached"),
    ...(cacheWritten > 0 && { cacheWritten }),
  };
}

/** Null as soon as the cost of one of them is unknown. */
function sumOfCosts(calls: readonly FinishedCall[]): number | null {
  return calls.reduce<number | null>(
    (sum, { costUsd }) => (sum === null || costUsd === null ? null : sum + costUsd),
    0,
  );
}
