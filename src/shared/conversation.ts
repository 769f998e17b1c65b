import { z } from "zod";
import type { Message } from "./chat.ts";
import { isObject, parseJson } from "./json.ts";

/** A conversation ends this long after its last message. */
export const CONVERSATION_TTL_SECONDS = 30 * 86_400;
export const MAX_TURNS = 10_000;

/** The head of a turn, which says who answers it; without `jobId` it is messages that were only added. */
export const turnHeadSchema = z.object({
  /** Epoch milliseconds. */
  createdAt: z.number(),
  jobId: z.string().optional(),
  queue: z.string().optional(),
  deadlineAt: z.number().optional(),
});
export type TurnHead = z.infer<typeof turnHeadSchema>;

/** What was checked when it was written is read as it stands: a conversation must not end by a stricter look. */
export const storedMessageSchema = z.looseObject({ role: z.string() }) as unknown as z.ZodType<Message>;

/** How a turn's job ended. */
export const turnAnswerSchema = z.object({
  /** Epoch milliseconds. */
  at: z.number(),
  /** The answers with their tool calls, and the tools' results; none when the job brought no answer. */
  messages: z.array(storedMessageSchema),
  /** The provider cannot take this turn: it would refuse every later request that holds it too. */
  isRefused: z.boolean().optional(),
  /** What a guardrail has put in the place of what was asked. */
  asked: z.array(storedMessageSchema).optional(),
});
export type TurnAnswer = z.infer<typeof turnAnswerSchema>;

/** What stands in a request for the oldest turns, which it does not show. */
export const historySummarySchema = z.object({
  /** How many turns. */
  turns: z.int().min(0),
  /** The instructions among their messages. */
  instructions: z.array(storedMessageSchema),
  /** The model's summary of the rest; absent: they were left out. */
  text: z.string().optional(),
});
export type HistorySummary = z.infer<typeof historySummarySchema>;

/** Messages that a call, or nobody, answers. */
export interface ConversationTurn {
  createdAt: number;
  asked: Message[];
  answer: TurnAnswer | undefined;
}

const sum = z.coerce.number().default(0);
/** The counts and sums of a conversation. */
export const conversationSumsSchema = z.object({
  turns: sum,
  bytes: sum,
  calls: sum,
  promptTokens: sum,
  completionTokens: sum,
  cachedTokens: sum,
  costUsd: sum,
  /** Answers that nobody knows the cost of. */
  unpriced: sum,
  /** Answers whose provider did not report all tokens: some of the sums is a guess. */
  estimated: sum,
});
export const SUM_FIELDS = Object.keys(conversationSumsSchema.shape);

/** Returns what later requests show of a turn: nothing of one that was refused. */
export function toMessages({ asked, answer }: ConversationTurn): Message[] {
  return answer?.isRefused ? [] : [...(answer?.asked ?? asked), ...(answer?.messages ?? [])];
}

const NOT_ANSWERED = "This call was not run.";

/**
 * The messages of earlier turns and the `own` messages of a call as one request that every provider takes: each tool call
 * has its result, and no earlier result stands alone.
 */
export function toRequestMessages(history: readonly Message[], own: readonly Message[]): Message[] {
  const messages: Message[] = [];
  const open = new Set<string>();
  const close = () => {
    for (const id of open) messages.push({ role: "tool", tool_call_id: id, content: NOT_ANSWERED });
    open.clear();
  };
  for (const [i, message] of [...history, ...own].entries()) {
    const isResult = message.role === "tool";
    if (!(isResult && open.delete(message.tool_call_id ?? ""))) {
      close();
      if (isResult && i < history.length) continue;
    }
    messages.push(withObjectArguments(message));
    for (const { id } of message.tool_calls ?? []) open.add(id);
  }
  close();
  return messages;
}

/** Arguments that a model wrote in broken JSON: other providers refuse them. */
function withObjectArguments(message: Message): Message {
  if (!message.tool_calls?.some((call) => !isObject(parseJson(call.function.arguments)))) return message;
  const calls = message.tool_calls.map((call) =>
    isObject(parseJson(call.function.arguments))
      ? call
      : { ...call, function: { ...call.function, arguments: "{}" } },
  );
  return { ...message, tool_calls: calls };
}
