import { setTimeout as delay } from "node:timers/promises";
import { type Job, Queue } from "bullmq";
import { validToolName } from "../providers/history.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import type { ChatRequest, Message } from "../shared/chat.ts";
import { type TurnAnswer, toMessages } from "../shared/conversation.ts";
import { policyOf } from "../shared/error-policy.ts";
import { type ErrorRecord, fromErrorRecord } from "../shared/error-record.ts";
import { GlueError } from "../shared/errors.ts";
import { fieldsOf, isObject } from "../shared/json.ts";
import type { ResultRecord } from "../shared/records.ts";
import { countWaiting, readTurnHead, readTurns } from "../store/conversation.ts";
import type { WorkerContext } from "./context.ts";
import type { HistoryParts } from "./history.ts";

export const WAITS_FOR_EARLIER = "the conversation's earlier call";

/** Parameters of a call: what is refused for one is refused without anything being wrong with its messages. */
const OF_CALL =
  /^(temperature|top_[pk]|min_p|max_(completion_|output_)?tokens|n|stop|stop_sequences|seed|(top_)?logprobs|logit_bias|(frequency|presence|repetition)_penalty|tools?|tool_choice|functions?|function_call|parallel_tool_calls|response_format|text|output_config|reasoning|reasoning_effort|thinking|verbosity|service_tier|user|metadata|store|stream|stream_options|modalities|prediction|extra_body|model)(?![a-z_])/;
const MIN_DELAY_MS = 250;
const MAX_DELAY_MS = 5_000;

type Place = NonNullable<CompletionPayload["conversation"]>;

/**
 * Returns how many milliseconds a call has to wait for its turn; undefined when the earlier ones have ended.
 * @param round how often it has waited
 * @throws GlueError `conversation_lost` when Redis does not have it
 */
export async function waitForTurn(
  { store }: WorkerContext,
  jobId: string,
  place: Place,
  round: number,
): Promise<number | undefined> {
  const waiting = await countWaiting(store, jobId, place);
  if (waiting === undefined) throw lost(place.id);
  // The end of the call before this one wakes it: the delay is for what goes wrong there.
  return waiting > 0 ? Math.min(MIN_DELAY_MS * 2 ** Math.min(round, 10), MAX_DELAY_MS) : undefined;
}

/**
 * The messages of a call's requests: its system prompt, the earlier turns, its new messages.
 * @throws GlueError `conversation_lost`
 */
export async function withHistory(
  { store }: WorkerContext,
  { id, position }: Place,
  { messages }: ChatRequest,
): Promise<HistoryParts> {
  const turns = await readTurns(store, id, position + 1);
  const own = turns[position]?.asked;
  if (!own) throw lost(id);
  const earlier = turns.slice(0, position).map(toMessages);
  return { prompt: messages.slice(0, messages.length - own.length), earlier, own };
}

/** Returns the provider entry that wants something back of the latest answers; undefined for none. */
export async function stateHolder(
  { store }: WorkerContext,
  { id, position }: Place,
): Promise<string | undefined> {
  const turns = await readTurns(store, id, position);
  const messages = turns.flatMap(({ answer }) => answer?.messages ?? []);
  const latest = messages.findLast(({ vendor_state: state }) => isObject(state));
  return Object.keys(fieldsOf(latest?.vendor_state)).at(-1);
}

/** Providers refuse tool calls in the history of a request that has no tools. */
export function withNamedTools(request: ChatRequest): ChatRequest {
  if (Array.isArray(request.tools) && request.tools.length > 0) return request;
  const calls = request.messages.flatMap((message) => message.tool_calls ?? []);
  const names = [...new Set(calls.map((call) => validToolName(call.function.name)))];
  if (names.length === 0) return request;
  const parameters = { type: "object", properties: {} };
  const tools = names.map((name) => ({ type: "function", function: { name, parameters } }));
  return { ...request, tools, tool_choice: "none" };
}

/** Another request, without that parameter or with another value, may have the same messages. */
function blamesParameter({ context }: ErrorRecord): boolean {
  return OF_CALL.test(String(context?.parameter ?? ""));
}

/** What is kept of a turn whose job has ended. */
export function turnAnswer(
  { error, finishedAt }: ResultRecord,
  added: readonly Message[],
  asked?: readonly Message[],
): TurnAnswer {
  const isRefused =
    error && !blamesParameter(error) && policyOf(fromErrorRecord(error)).spoils === "messages";
  return {
    ...{ at: finishedAt, messages: [...added] },
    ...(isRefused && { isRefused }),
    ...(asked && { asked: [...asked] }),
  };
}

/** Lets the job of the next turn start now, when it waits for this one. */
export async function wakeNextTurn(
  { store }: WorkerContext,
  queue: Queue,
  { id, position }: Place,
): Promise<void> {
  for (let n = position + 1; ; n++) {
    const head = await readTurnHead(store, id, n);
    if (!head) return;
    const { jobId, queue: name = queue.name } = head;
    if (jobId && (await promote(jobId, name))) return;
  }

  /** False when it is over. */
  async function promote(jobId: string, name: string): Promise<boolean> {
    const other =
      name === queue.name
        ? undefined
        : new Queue(name, { connection: store.redis, prefix: store.keys.prefix });
    try {
      const job = await (other ?? queue).getJob(jobId);
      if (!job || job.finishedOn) return false;
      const { waitsFor } = job.progress as { waitsFor?: string };
      if (waitsFor === WAITS_FOR_EARLIER) await promoteSoon(job);
      return true;
    } finally {
      await other?.close();
    }
  }
}

/** It may be on its way back to wait: that takes a moment. Else it runs already, or its delay will end. */
async function promoteSoon(job: Job): Promise<void> {
  for (let look = 0; look < 3; look++) {
    const isPromoted = await job.promote().then(
      () => true,
      () => false,
    );
    if (isPromoted) return;
    await delay(30);
  }
}

function lost(id: string): GlueError {
  return new GlueError({
    code: "conversation_lost",
    category: "internal",
    message: `conversation ${id} is no longer in Redis`,
    hint: "conversations are kept for 30 days after their last message; Redis was emptied, or somebody removed it",
  });
}
