import { z } from "zod";
import { MAX_REQUEST_BYTES, type Message } from "../shared/chat.ts";
import {
  CONVERSATION_TTL_SECONDS,
  conversationSumsSchema,
  MAX_TURNS,
  SUM_FIELDS,
  storedMessageSchema,
  type Turn,
  type TurnHead,
  turnAnswerSchema,
  turnHeadSchema,
} from "../shared/conversation.ts";
import { InputError } from "../shared/errors.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

/** Turns read at a time. */
const PAGE = 500;

/** A conversation as its holder knows it. */
export interface ConversationRef {
  readonly id: string;
  /** It is not begun anew when Redis does not have it. Set once it has been used. */
  mustExist: boolean;
  /** USD that its calls may cost together; absent: as it stands. */
  readonly maxCostUsd?: number | undefined;
  /** The latest enqueueing through this reference: turns are taken in the order of the calls. */
  latest?: Promise<unknown>;
}

/** A job that has its turn keeps it: who sent it may have died before it added the job. */
const PUSH = new RedisScript(`
  local conversation = KEYS[1]
  local jobId, head, asked, mustExist, maxTurns, maxBytes, ttl, maxCostUsd, isUnpriced = unpack(ARGV)
  local exists = redis.call('EXISTS', conversation) == 1
  if mustExist == '1' and not exists then return 'unknown' end
  local time = redis.call('TIME')
  local now = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
  local n = jobId ~= '' and redis.call('HGET', conversation, 'job:' .. jobId)
  if not n then
    if isUnpriced == '1' and redis.call('HEXISTS', conversation, 'maxCostUsd') == 1 then return 'unpriced' end
    n = tonumber(redis.call('HGET', conversation, 'turns') or 0)
    local bytes = tonumber(redis.call('HGET', conversation, 'bytes') or 0)
    if n >= tonumber(maxTurns) or bytes + #asked > tonumber(maxBytes) then return 'full' end
    if not exists then redis.call('HSET', conversation, 'createdAt', now) end
    redis.call('HSET', conversation, 'turns', n + 1, 'bytes', bytes + #asked, 'asked:' .. n, asked)
    if jobId ~= '' then redis.call('HSET', conversation, 'job:' .. jobId, n) end
  end
  if maxCostUsd ~= '' then redis.call('HSET', conversation, 'maxCostUsd', maxCostUsd) end
  redis.call('HSET', conversation, 'turn:' .. n, '{"createdAt":' .. now .. ',' .. string.sub(head, 2))
  if redis.call('TTL', conversation) < tonumber(ttl) then redis.call('EXPIRE', conversation, ttl) end
  return tonumber(n)
`);

export interface TurnInput {
  conversation: ConversationRef;
  messages: readonly Message[];
  /** Who answers it; absent for messages that are only added. */
  job?: Required<Omit<TurnHead, "createdAt">>;
  /** What its call may cost is unknown: a conversation with a cost limit does not take it. */
  isUnpriced?: boolean;
}

/**
 * Adds a turn at the end, in one step, and gives its position from 0; `unpriced` when the limit forbids it.
 * @throws InputError `unknown_conversation`; `conversation_too_long` when it has 10,000 turns, or 20 MiB with this one
 */
export async function pushTurn(
  store: Store,
  { conversation, messages, job, isUnpriced }: TurnInput,
): Promise<number | "unpriced"> {
  const { id } = conversation;
  // A delayed call has to find it.
  const waitSeconds = Math.ceil(Math.max(0, (job?.deadlineAt ?? 0) - Date.now()) / 1000);
  const position = await PUSH.run(
    store.redis,
    [store.keys.conversation(id)],
    [
      job?.jobId ?? "",
      JSON.stringify(job ?? { isAdded: true }),
      JSON.stringify(messages),
      conversation.mustExist ? "1" : "",
      MAX_TURNS,
      MAX_REQUEST_BYTES,
      CONVERSATION_TTL_SECONDS + waitSeconds,
      conversation.maxCostUsd ?? "",
      isUnpriced ? "1" : "",
    ],
  );
  if (position === "unknown") throw unknownConversation(id);
  if (position === "full") throw tooLong(id);
  conversation.mustExist = true;
  if (position === "unpriced") return position;
  return Number(position);
}

/** @throws InputError `unknown_conversation` */
export async function readConversation(store: Store, conversation: ConversationRef): Promise<Turn[]> {
  const { turns } = await readSums(store, conversation);
  return readTurns(store, conversation.id, turns);
}

export type ConversationSums = ReturnType<typeof conversationSumsSchema.parse>;

/** @throws InputError `unknown_conversation` */
export async function readSums(store: Store, { id, mustExist }: ConversationRef): Promise<ConversationSums> {
  const values = await store.redis.hmget(store.keys.conversation(id), ...SUM_FIELDS);
  const given = SUM_FIELDS.flatMap((field, i) => (values[i] == null ? [] : [[field, values[i]]]));
  if (given.length === 0 && mustExist) throw unknownConversation(id);
  return conversationSumsSchema.parse(Object.fromEntries(given));
}

function unknownConversation(id: string): InputError {
  return new InputError(
    `there is no conversation ${id}`,
    "conversations are kept for 30 days after their last message; without an id a new one begins",
    "unknown_conversation",
  );
}

function tooLong(id: string): InputError {
  return new InputError(
    `conversation ${id} has reached ${MAX_TURNS} turns or ${MAX_REQUEST_BYTES / 1024 ** 2} MiB`,
    "begin a new one with what matters of this one: reset(), then addMessage() with a summary",
    "conversation_too_long",
  );
}

/** The turns up to `count`, in their order; fewer when the conversation, or a part of it, is not in Redis. */
export async function readTurns(store: Store, id: string, count: number): Promise<Turn[]> {
  const turns: Turn[] = [];
  for (let from = 0; from < count; from += PAGE) {
    const numbers = Array.from({ length: Math.min(PAGE, count - from) }, (_, i) => from + i);
    const fields = numbers.flatMap((n) => [`turn:${n}`, `asked:${n}`, `answer:${n}`]);
    const values = await store.redis.hmget(store.keys.conversation(id), ...fields);
    for (let i = 0; i < values.length; i += 3) {
      const [head, asked, answer] = values.slice(i, i + 3);
      if (!head || !asked) return turns;
      turns.push({
        createdAt: turnHeadSchema.parse(JSON.parse(head)).createdAt,
        asked: z.array(storedMessageSchema).parse(JSON.parse(asked)),
        answer: answer ? turnAnswerSchema.parse(JSON.parse(answer)) : undefined,
      });
    }
  }
  return turns;
}
