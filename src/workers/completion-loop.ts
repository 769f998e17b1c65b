import { defaultLimit, longestAnswer, outputLimitOf } from "../providers/answer-length.ts";
import { assistantMessage, type ToolCall, toolCallsOf } from "../providers/assistant-message.ts";
import type { AgentTool } from "../shared/agent.ts";
import type { BlobRef, CompletionPayload } from "../shared/catalog.ts";
import { type ChatCompletion, type ChatRequest, chatRequestSchema, type Message } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import type { OutputMode, OutputSpec } from "../shared/output-spec.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { isBlobRef, readBlobText } from "../store/blobs.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import type { JobWaits } from "../store/job-waits.ts";
import { countCall } from "../store/usage.ts";
import { ActiveAgent } from "./active-agent.ts";
import { withAgent } from "./agent-model.ts";
import { type ChildPlace, childAnswer } from "./child-job.ts";
import { completionRecord } from "./completion-record.ts";
import type { WorkerContext } from "./context.ts";
import { withHistory } from "./conversation.ts";
import { asksForFlex } from "./flex-call.ts";
import { besideGuardrails, passAnswer, passInput } from "./guarded-turn.ts";
import { History, type HistoryParts, partsOf } from "./history.ts";
import { JobGuardrails } from "./job-guardrails.ts";
import { JobSteps } from "./job-steps.ts";
import { callInLane } from "./lane-call.ts";
import type { CompletionOutcome, LoopInput } from "./loop-input.ts";
import { checkOutput } from "./output/check-output.ts";
import { outputText, readOutput } from "./output/read-output.ts";
import { callOrCached } from "./response-cache.ts";
import { HistoryShortener } from "./shorten-history.ts";
import { StreamWriter } from "./stream-writer.ts";
import { runToolCalls, toToolMessage } from "./tool-calls.ts";
import { type Asked, mustAnswer, type Progress, turnRequest } from "./turn-request.ts";

/** How often an answer of one job may pause. */
const MAX_PAUSES = 10;

/**
 * A job's provider calls: asks; runs the tools that the answer calls and asks again with their results; shows the model
 * where its structured answer does not fit and asks again. What the journal has is not done again.
 * @throws as `callOrCached` does; StructuredOutputError; FencedError when another worker has the job; GlueError
 * `conversation_lost`
 */
export async function runCompletion(context: WorkerContext, input: LoopInput): Promise<CompletionOutcome> {
  const { payload, journal } = input;
  const agent = await ActiveAgent.begin(context, input);
  const guardrails = new JobGuardrails(context, input, () => agent);
  const loaded = await loadRequest(context, payload);
  const given = loaded.parts.own;
  const history = new History({ ...loaded.parts, own: await passInput(guardrails, given, loaded.request) });
  const shortener = await HistoryShortener.begin(context, input, history);
  await using stream = payload.stream ? new StreamWriter({ ...context, ...input }) : undefined;
  const added: Message[] = [];
  const progress: Progress = {
    calls: [],
    executions: [],
    toolIterations: 0,
    earlierIterations: 0,
    repairs: 0,
  };
  const steps = new JobSteps(agent.steps, payload, input.logger);
  const side: FinishedCall[] = [];
  const askIn = (entry: string, prepared: ChatRequest, bounds: CompletionPayload) =>
    turnRequest(context.settings.providers[entry] as ProviderEntry, prepared, bounds, progress);
  for (let turn = 0; ; turn++) {
    const known = journal?.calls[turn];
    if (known && !known.fromCache) context.metrics?.paidCallsReused("journal", 1);
    const present = await withAgent(context, input, agent);
    const bounds = { ...payload, maxToolIterations: agent.maxToolIterations };
    let asked: Asked;
    let call = known;
    do {
      const unprepared = agent.requestOf({ ...loaded.request, messages: history.messages });
      const choices = progress.earlierIterations > 0 ? AFTER_ALL_CHOICES : progress.toolIterations;
      const prepared = known ? unprepared : await steps.prepare(unprepared, choices);
      // Another model may have answered before this one was fallen back to.
      asked = askIn(known?.entry ?? present.model.entry, prepared, bounds);
      call = await besideGuardrails(
        guardrails,
        given,
        present,
        async (job) => call ?? (await askOnce(context, job, { stream, guardrails, asked, turn, side })),
      ).catch(async (error) => {
        if (hasNextModel(input) || !(await shortener.afterRefusal(error))) throw error;
        return undefined;
      });
    } while (!call);
    const { mode } = asked;
    const callsTools = agent.tools.length > 0 && !mustAnswer(bounds, progress);
    progress.calls.push(
      await passAnswer(guardrails, call, {
        turn,
        callsTools,
        answerTool: mode === "tool" && payload.output?.name,
      }),
    );
    const executed = journal?.executionsOf(turn) ?? 0;
    const earlier = progress.executions.length;
    const results = await toolResults(context, present, progress, { agent, guardrails, bounds, turn, mode });
    const executions = progress.executions.slice(earlier);
    const isNew = !known || executions.length > executed;
    const isOver = await steps.add(call, executions, isNew);
    const further = results ?? pausedAnswer(asked, progress);
    // Rounds of repair are no part of the conversation.
    if (further) added.push(...further);
    const next = further ?? nextRound(context, payload, asked, progress);
    if (!next || (results && (isOver || payload.endsWithTools))) {
      if (!further) added.push(...finalAnswer(payload, progress));
      const told = { agent: agent.name, guardrails: guardrails.reports };
      const spent = { ...present, lost: [...input.lost, ...side] };
      const record = await completionRecord(context, spent, progress, told);
      return { ...record, added, asked: journal?.rewrittenInput };
    }
    history.push(next);
    if (results && (await agent.take(executions))) {
      progress.earlierIterations = progress.toolIterations;
      steps.use(agent.steps);
      history.rewrite(await passInput(guardrails, given, loaded.request));
      input.logger.info({ agent: agent.name, turn }, "handed over to another agent");
    }
  }
}

/** What forces calls of tools is said for the agent that the job began with. */
const AFTER_ALL_CHOICES = 1_000_000;

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

interface AskedTurn {
  stream: StreamWriter | undefined;
  guardrails: JobGuardrails;
  asked: Asked;
  turn: number;
  /** Gets the paid calls that it takes beside its own. */
  side: FinishedCall[];
}

async function askOnce(
  context: WorkerContext,
  input: LoopInput,
  { stream, guardrails, asked: { request, mode }, turn, side }: AskedTurn,
): Promise<FinishedCall> {
  const { requestId, wire } = input.payload;
  // Nobody reads what may be taken back.
  const isHeld = guardrails.enforces("post") || guardrails.enforces("parallel");
  const asked = { ...input, request, conversation: input.payload.conversation?.id, wire };
  const isRepeated = input.attemptsMade > (input.journal?.attemptsMade ?? 0);
  const names = { requestId: turn === 0 ? requestId : `${requestId}-${turn}`, isRepeated };
  const { call: bought, missed } = await callInLane(context, { ...asked, ...names, turn });
  const ask = () =>
    callOrCached(context, {
      ...asked,
      ...names,
      onSideCall: (paid: FinishedCall) => side.push(paid),
      isWorthKeeping: (body) => isWorthKeeping(body, input.payload, mode),
      onDelta: stream && (isHeld ? () => {} : stream.begin(turn + 1)),
    });
  const { nesting = 0 } = input.payload;
  const call =
    bought ??
    (await (asksForFlex(context, asked) ? context.flexPlaces.run({ ...input, nesting }, ask) : ask()));
  if (missed) call.laneMissed = missed;
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

interface ToolsOfTurn {
  agent: ActiveAgent;
  guardrails: JobGuardrails;
  /** The payload as it holds for the agent. */
  bounds: CompletionPayload;
  turn: number;
  mode: OutputMode | undefined;
}

/** Runs the tools that the last answer calls; undefined when it calls none. */
async function toolResults(
  context: WorkerContext,
  input: LoopInput,
  progress: Progress,
  { agent, guardrails, bounds, turn, mode }: ToolsOfTurn,
): Promise<Message[] | undefined> {
  const { toolPlaces, metrics, store } = context;
  const { journal, payload, jobId, signal, logger } = input;
  const { body, entry } = progress.calls.at(-1) as FinishedCall;
  const { tools, handoffs } = agent;
  const calls = tools.length > 0 && !mustAnswer(bounds, progress) ? toolCallsOf(body) : [];
  if (!journal || calls.length === 0) return undefined;
  if (mode === "tool" && givesOutput(calls, payload.output)) return undefined;
  const { nesting = 0, tenant, by, context: asked = {} } = payload;
  const conversation = payload.conversation?.id;
  const toolTurn = {
    ...{ store, metrics, tools, handoffs, agent: agent.name, guardrails, journal, jobId, context: asked },
    ...{ nesting, conversation, turn, signal, logger, owner: { tenant, by } },
    askAgent: (waits: JobWaits, tool: AgentTool, call: ChildPlace) =>
      childAnswer(context, input, waits, tool, call),
  };
  const run = () => runToolCalls(toolTurn, calls);
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
