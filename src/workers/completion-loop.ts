import { defaultLimit, longestAnswer, outputLimitOf } from "../providers/answer-length.ts";
import { assistantMessage, type ToolCall, toolCallsOf } from "../providers/assistant-message.ts";
import type { BlobRef, CompletionPayload } from "../shared/catalog.ts";
import { type ChatCompletion, type ChatRequest, chatRequestSchema, type Message } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import type { OutputMode, OutputSpec } from "../shared/output-spec.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import type { ResultRecord } from "../shared/records.ts";
import { resultTtlSeconds } from "../shared/retention.ts";
import { type Tool, toToolDefinition } from "../shared/tool.ts";
import { inlineOrBlob, isBlobRef, readBlobText } from "../store/blobs.ts";
import type { FinishedCall } from "../store/job-journal.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { countCall } from "../store/usage.ts";
import type { WorkerContext } from "./context.ts";
import { withHistory } from "./conversation.ts";
import { History, type HistoryParts, partsOf } from "./history.ts";
import type { LostCall } from "./job-attempt.ts";
import { JobSteps } from "./job-steps.ts";
import { checkOutput } from "./output/check-output.ts";
import { outputText, readOutput } from "./output/read-output.ts";
import { callOrCached } from "./response-cache.ts";
import { type CallsInput, HistoryShortener } from "./shorten-history.ts";
import { type PaidCall, spentOn } from "./spent.ts";
import { StreamWriter } from "./stream-writer.ts";
import { runToolCalls, toToolMessage } from "./tool-calls.ts";
import { type Asked, mustAnswer, type Progress, turnRequest } from "./turn-request.ts";

/** How often an answer of one job may pause. */
const MAX_PAUSES = 10;

/** A job of calls and tools. */
export interface LoopInput extends CallsInput, Pick<ActiveJob, "withoutSlot"> {
  queue: string;
  /** Paid calls of earlier attempts, whose answers could not be used. */
  lost: readonly LostCall[];
}

export interface CompletionOutcome {
  /** To be written. */
  record: ResultRecord;
  /** What the job adds to its conversation. */
  added: Message[];
  /** All that were paid, or came from the cache. */
  calls: readonly PaidCall[];
}

/**
 * A job's provider calls: asks; runs the tools that the answer calls and asks again with their results; shows the model
 * where its structured answer does not fit and asks again. What the journal has is not done again.
 * @throws as `callOrCached` does; StructuredOutputError; FencedError when another worker has the job; GlueError
 * `conversation_lost`
 */
export async function runCompletion(context: WorkerContext, input: LoopInput): Promise<CompletionOutcome> {
  const { payload, journal } = input;
  const tools = (payload.tools ?? []).flatMap((name) => context.tools.get(name) ?? []);
  const loaded = await loadRequest(context, payload);
  const request = withTools(loaded.request, tools);
  const history = new History(loaded.parts);
  const shortener = await HistoryShortener.begin(context, input, history);
  await using stream = payload.stream ? new StreamWriter({ ...context, ...input }) : undefined;
  const added: Message[] = [];
  const progress: Progress = { calls: [], executions: [], toolIterations: 0, repairs: 0 };
  const steps = new JobSteps(context.steps.get(payload.steps ?? ""), payload, input.logger);
  const askIn = (entry: string, prepared: ChatRequest) =>
    turnRequest(context.settings.providers[entry] as ProviderEntry, prepared, payload, progress);
  for (let turn = 0; ; turn++) {
    const known = journal?.calls[turn];
    if (known && !known.fromCache) context.metrics?.paidCallsReused("journal", 1);
    let asked: Asked;
    let call = known;
    do {
      const unprepared = { ...request, messages: history.messages };
      const prepared = known ? unprepared : await steps.prepare(unprepared, progress.toolIterations);
      // Another model may have answered before this one was fallen back to.
      asked = askIn(known?.entry ?? input.model.entry, prepared);
      call ??= await ask(context, input, stream, asked, turn).catch(async (error) => {
        if (hasNextModel(input) || !(await shortener.afterRefusal(error))) throw error;
        return undefined;
      });
    } while (!call);
    const { mode } = asked;
    progress.calls.push(call);
    const executed = journal?.executionsOf(turn) ?? 0;
    const earlier = progress.executions.length;
    const results = await toolResults(context, input, progress, tools, { turn, mode });
    const executions = progress.executions.slice(earlier);
    const isNew = !known || executions.length > executed;
    const isOver = await steps.add(call, executions, isNew);
    const further = results ?? pausedAnswer(asked, progress);
    // Rounds of repair are no part of the conversation.
    if (further) added.push(...further);
    const next = further ?? nextRound(context, payload, asked, progress);
    if (!next || (results && (isOver || payload.endsWithTools))) {
      if (!further) added.push(...finalAnswer(payload, progress));
      return { ...(await toRecord(context, input, progress)), added };
    }
    history.push(next);
  }
}

/**
 * What is gone on from when the provider's own tools take long, and it paused its answer; undefined when it did not, or too
 * often. A request in the provider's own words has its history there.
 */
function pausedAnswer({ request }: Asked, { calls }: Progress): Message[] | undefined {
  const isPaused = ({ body }: FinishedCall) => body.choices[0]?.native_finish_reason === "pause_turn";
  const call = calls.at(-1) as FinishedCall;
  if (request.anthropic || !isPaused(call) || toolCallsOf(call.body).length > 0) return undefined;
  if (calls.filter(isPaused).length > MAX_PAUSES) return undefined;
  return [assistantMessage(call.body, call.entry)];
}

/** What to ask next for a structured answer; undefined when it fits, or none was asked for. */
function nextRound(
  { settings }: WorkerContext,
  { output, outputCheck: check }: CompletionPayload,
  { request, mode }: Asked,
  progress: Progress,
): Message[] | undefined {
  if (!output || !mode) return undefined;
  const { entry, model, body } = progress.calls.at(-1) as FinishedCall;
  const { dialect } = settings.providers[entry] ?? {};
  const given = outputLimitOf(request);
  const longest = given === undefined ? longestAnswer(dialect, model) : undefined;
  const limits = { inForce: given ?? defaultLimit(dialect), longest };
  const round = checkOutput({ body, entry }, { ...output, check }, mode, limits, progress);
  switch (round.kind) {
    case "fits":
      progress.output = { value: round.value };
      return undefined;
    case "repair":
      progress.repairs += 1;
      return round.messages;
    case "longer":
      progress.maxTokens = round.maxTokens;
      return [];
  }
}

async function ask(
  context: WorkerContext,
  input: LoopInput,
  stream: StreamWriter | undefined,
  { request, mode }: Asked,
  turn: number,
): Promise<FinishedCall> {
  const { requestId } = input.payload;
  const call = await callOrCached(context, {
    ...input,
    request,
    conversation: input.payload.conversation?.id,
    wire: input.payload.wire,
    isWorthKeeping: (body) => isWorthKeeping(body, input.payload, mode),
    requestId: turn === 0 ? requestId : `${requestId}-${turn}`,
    isRepeated: input.attemptsMade > (input.journal?.attemptsMade ?? 0),
    onDelta: stream?.begin(turn + 1),
  });
  // Nobody tells the pieces of a finished call again.
  await stream?.flush();
  await input.journal?.append({ kind: "call", call, attemptsMade: input.attemptsMade });
  if (input.journal && !call.fromCache) await countCall(context.store, call);
  return call;
}

/** A structured answer that does not fit would be asked for again each time. */
function isWorthKeeping(
  body: ChatCompletion,
  { output, outputCheck: check }: CompletionPayload,
  mode: OutputMode | undefined,
): boolean {
  if (!output || !mode) return true;
  const callsOthers = toolCallsOf(body).some((call) => call.function.name !== output.name);
  return callsOthers || readOutput(body, { ...output, check }, mode).ok;
}

/** Runs the tools that the last answer calls; undefined when it calls none. */
async function toolResults(
  { toolPlaces, metrics }: WorkerContext,
  input: LoopInput,
  progress: Progress,
  tools: readonly Tool[],
  { turn, mode }: { turn: number; mode: OutputMode | undefined },
): Promise<Message[] | undefined> {
  const { journal, payload, jobId, signal, logger } = input;
  const { body, entry } = progress.calls.at(-1) as FinishedCall;
  const calls = tools.length > 0 && !mustAnswer(payload, progress) ? toolCallsOf(body) : [];
  if (!journal || calls.length === 0) return undefined;
  if (mode === "tool" && givesOutput(calls, payload.output)) return undefined;
  const { nesting = 0, tenant, by, context = {} } = payload;
  const conversation = payload.conversation?.id;
  const toolTurn = { metrics, tools, journal, jobId, context, nesting, conversation, turn, signal, logger };
  const run = () => runToolCalls({ ...toolTurn, owner: { tenant, by } }, calls);
  const areKnown = calls.every((_, index) => journal.executionOf(turn, index));
  const executions = areKnown ? await run() : await toolPlaces.run({ ...input, nesting }, run);
  progress.executions.push(...executions);
  progress.toolIterations += 1;
  return [assistantMessage(body, entry), ...executions.map(toToolMessage)];
}

/** In mode `tool` the answer is a call too. */
function givesOutput(calls: readonly ToolCall[], output: OutputSpec | undefined): boolean {
  return calls.some((call) => call.function.name === output?.name);
}

function withTools(request: ChatRequest, tools: readonly Tool[]): ChatRequest {
  return tools.length > 0 ? { ...request, tools: tools.map(toToolDefinition) } : request;
}

/** As the conversation keeps it: nothing of what providers refuse, such as a message without any content. */
function finalAnswer({ output: spec }: CompletionPayload, { calls, output }: Progress): Message[] {
  const { body, entry } = calls.at(-1) as FinishedCall;
  // Its call in mode `tool` would have no result.
  if (spec && output) return [{ role: "assistant", content: outputText(body, spec, output.value) }];
  const answer = assistantMessage(body, entry);
  return answer.content || answer.tool_calls?.length ? [answer] : [];
}

async function loadRequest(
  context: WorkerContext,
  { request, conversation }: CompletionPayload,
): Promise<{ request: ChatRequest; parts: HistoryParts }> {
  const own = await readRequest(context, request);
  const parts = conversation ? await withHistory(context, conversation, own) : partsOf(own.messages);
  return { request: own, parts };
}

/** A larger model may take what is too long for this one. */
function hasNextModel({ payload, journal }: LoopInput): boolean {
  return (journal?.fallbacks.length ?? 0) < (payload.fallbacks?.length ?? 0);
}

async function readRequest(
  { store }: WorkerContext,
  request: CompletionPayload["request"],
): Promise<ChatRequest> {
  const isText = "json" in request && typeof request.json === "string";
  if (!isText && !isBlobRef(request)) return request as ChatRequest;
  const own = parseExactly(isText ? String(request.json) : await readBlobText(store, request as BlobRef));
  // What the schema returns is a copy with another order of keys.
  chatRequestSchema.parse(own);
  return own as ChatRequest;
}

async function toRecord(
  { store, settings }: WorkerContext,
  { jobId, payload, logger, attemptsMade, journal, lost }: LoopInput,
  { calls, executions, output }: Progress,
): Promise<Pick<CompletionOutcome, "record" | "calls">> {
  // The record is written a little later, and must not outlive them.
  const ttlSeconds = resultTtlSeconds(payload, "succeeded", settings.retention) + 3600;
  const keep = <T>(value: T) =>
    untilTaken(logger, () => inlineOrBlob(store, `result:${jobId}`, value, ttlSeconds));
  const { entry, model, statusCode, requestId, body, fromCache } = calls.at(-1) as FinishedCall;
  const paid = [...(journal?.summaries.map(({ call }) => call) ?? []), ...lost, ...calls];
  const record: ResultRecord = {
    v: 1,
    jobId,
    status: "succeeded",
    entry,
    model,
    ...(journal?.fallbacks.length && { fallbacks: journal.fallbacks }),
    response: { statusCode, requestId, body: await keep(body) },
    ...spentOn(paid),
    turns: calls.length,
    ...(fromCache && { fromCache }),
    ...(payload.tools && { toolExecutions: await keep(executions) }),
    ...(output && { output: await keep(output) }),
    attempts: attemptsMade + 1,
    finishedAt: Date.now(),
  };
  return { record, calls: paid };
}
