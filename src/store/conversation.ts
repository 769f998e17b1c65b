import { z } from "zod";
import { MAX_REQUEST_BYTES, type Message } from "../shared/chat.ts";
import type { TurnAnswer } from "../shared/conversation.ts";
import {
  CONVERSATION_TTL_SECONDS,
  type ConversationTurn,
  conversationSumsSchema,
  MAX_TURNS,
  SUM_FIELDS,
  storedMessageSchema,
  type TurnHead,
  turnAnswerSchema,
  turnHeadSchema,
} from "../shared/conversation.ts";
import { InputError } from "../shared/errors.ts";
import { readStored } from "../shared/stored-data.ts";
import { HAS_JOB } from "./bullmq-internals.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A conversation: one hash at `conversation:<id>`, so that a turn, an answer and the sums change together and expire
 * together. It holds `turns` (their count), `bytes`, `createdAt`, the sums, the ledger of its cost limit, the `summary` of
 * its oldest turns (conversation-summary.ts), and of turn n from 0: `turn:n` (its head), `asked:n` (its messages), `answer:n` (what its job added, once it has ended) and
 * `job:<jobId>` (n).
 *
 * | state of a turn | to       | by            | who                                                                        |
 * |-----------------|----------|---------------|----------------------------------------------------------------------------|
 * | none            | asked    | `pushTurn`    | a producer, before it adds the turn's job; or messages that are only added |
 * | asked           | answered | `writeRecord` | the turn's worker, with the job's record (`ANSWER_TURN`, result-record.ts) |
 * | answered        | answered | `writeRecord` | a retried job: the sums change by the difference                           |
 * | any             | none     | –             | with the conversation, 30 days after its last change                       |
 *
 * A turn without a job is answered from the start. A later turn's job runs once the earlier ones have ended.
 */

/** Turns read at a time. */
const PAGE = 500;
/** What a turn's messages and answer are sealed as, with the conversation's id. */
const TURN_KIND = "conversation";
/** A turn is written just before its job: until then it is not missed. */
const ENQUEUE_MS = 10_000;
/** A job ends by its deadline, but for the call that it had begun. */
const LATE_MS = 60_000;

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

/**
 * Adds a turn at the end.
 * Keys: the conversation. Arguments: `jobId`, empty for messages that are only added; the turn's `head` and messages
 * (`asked`) as JSON; whether the conversation must exist; its life; its cost limit, empty when it stands as it is;
 * whether the job's cost is unknown. Returns: the turn's position, or `unknown`, `unpriced`, `full`.
 * Called by `pushTurn`, for a producer. Fence: none; a job that has its turn keeps it, since who sent it may have died
 * before it added the job.
 */
const PUSH = new Script({
  keys: ["conversation"],
  args: {
    jobId: "text",
    head: "text",
    asked: "text",
    mustExist: "flag",
    ttlSeconds: "number",
    maxCostUsd: "text",
    isUnpriced: "flag",
  },
  lua: `${NOW}
    local exists = redis.call('EXISTS', conversation) == 1
    if mustExist and not exists then return 'unknown' end
    local n = jobId ~= '' and redis.call('HGET', conversation, 'job:' .. jobId)
    if not n then
      if isUnpriced and redis.call('HEXISTS', conversation, 'maxCostUsd') == 1 then return 'unpriced' end
      n = tonumber(redis.call('HGET', conversation, 'turns') or 0)
      local bytes = tonumber(redis.call('HGET', conversation, 'bytes') or 0)
      if n >= ${MAX_TURNS} or bytes + #asked > ${MAX_REQUEST_BYTES} then return 'full' end
      if not exists then redis.call('HSET', conversation, 'createdAt', now) end
      redis.call('HSET', conversation, 'turns', n + 1, 'bytes', bytes + #asked, 'asked:' .. n, asked)
      if jobId ~= '' then redis.call('HSET', conversation, 'job:' .. jobId, n) end
    end
    if maxCostUsd ~= '' then redis.call('HSET', conversation, 'maxCostUsd', maxCostUsd) end
    redis.call('HSET', conversation, 'turn:' .. n, '{"createdAt":' .. now .. ',' .. string.sub(head, 2))
    if redis.call('TTL', conversation) < ttlSeconds then redis.call('EXPIRE', conversation, ttlSeconds) end
    return tonumber(n)
  `,
});

export interface TurnInput {
  conversation: ConversationRef;
  messages: readonly Message[];
  /** Who answers it; absent for messages that are only added. */
  job?: Required<Omit<TurnHead, "createdAt">>;
  /** What its call may cost is unknown: a conversation with a cost limit does not take it. */
  isUnpriced?: boolean;
  /** How long it is kept after its last change; default 30 days. */
  keepMs?: number;
}

/**
 * Adds a turn at the end, in one step, and returns its position from 0; `unpriced` when the limit forbids it.
 * @throws InputError `unknown_conversation`; `conversation_too_long` when it has 10,000 turns, or 20 MiB with this one
 */
export async function pushTurn(
  store: Store,
  { conversation, messages, job, isUnpriced = false, keepMs = CONVERSATION_TTL_SECONDS * 1000 }: TurnInput,
): Promise<number | "unpriced"> {
  const { id } = conversation;
  // A delayed call has to find it.
  const waitSeconds = Math.ceil(Math.max(0, (job?.deadlineAt ?? 0) - Date.now()) / 1000);
  const position = await PUSH.run(
    store.redis,
    { conversation: store.keys.conversation(id) },
    {
      jobId: job?.jobId ?? "",
      head: JSON.stringify(job ?? { isAdded: true }),
      asked: await store.sealing.seal(TURN_KIND, id, JSON.stringify(messages)),
      mustExist: conversation.mustExist,
      ttlSeconds: Math.ceil(keepMs / 1000) + waitSeconds,
      maxCostUsd: conversation.maxCostUsd === undefined ? "" : String(conversation.maxCostUsd),
      isUnpriced,
    },
  );
  if (position === "unknown") throw unknownConversation(id);
  if (position === "full") throw tooLong(id);
  conversation.mustExist = true;
  if (position === "unpriced") return position;
  return Number(position);
}

/** Returns all turns. @throws InputError `unknown_conversation` */
export async function readConversation(
  store: Store,
  conversation: ConversationRef,
): Promise<ConversationTurn[]> {
  const { turns } = await readSums(store, conversation);
  return readTurns(store, conversation.id, turns);
}

export type ConversationSums = ReturnType<typeof conversationSumsSchema.parse>;

/** Returns the counts and sums of all turns. @throws InputError `unknown_conversation` */
export async function readSums(store: Store, { id, mustExist }: ConversationRef): Promise<ConversationSums> {
  const values = await store.redis.hmget(store.keys.conversation(id), ...SUM_FIELDS);
  const given = SUM_FIELDS.flatMap((field, i) => (values[i] == null ? [] : [[field, values[i]]]));
  if (given.length === 0 && mustExist) throw unknownConversation(id);
  return readStored(nameOf(id), () => conversationSumsSchema.parse(Object.fromEntries(given)));
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

/** Returns the first `count` turns in their order; fewer when the conversation, or a part of it, is not in Redis. */
export async function readTurns(store: Store, id: string, count: number): Promise<ConversationTurn[]> {
  const turns: ConversationTurn[] = [];
  for (let from = 0; from < count; from += PAGE) {
    const numbers = Array.from({ length: Math.min(PAGE, count - from) }, (_, i) => from + i);
    const fields = numbers.flatMap((n) => [`turn:${n}`, `asked:${n}`, `answer:${n}`]);
    const values = await store.redis.hmget(store.keys.conversation(id), ...fields);
    for (let i = 0; i < values.length; i += 3) {
      const [head, asked, answer] = values.slice(i, i + 3);
      if (!head || !asked) return turns;
      const [messages, ended] = await Promise.all(
        [asked, answer || "null"].map((text) => store.sealing.open(TURN_KIND, id, text)),
      );
      const turn = readStored(nameOf(id), () => ({
        createdAt: turnHeadSchema.parse(JSON.parse(head)).createdAt,
        asked: z.array(storedMessageSchema).parse(JSON.parse(messages ?? "")),
        answer: turnAnswerSchema.nullable().parse(JSON.parse(ended ?? "null")) ?? undefined,
      }));
      turns.push(turn);
    }
  }
  return turns;
}

/** Returns the head of turn `n`; undefined when there is none. */
export async function readTurnHead(store: Store, id: string, n: number): Promise<TurnHead | undefined> {
  const head = await store.redis.hget(store.keys.conversation(id), `turn:${n}`);
  return head ? readStored(nameOf(id), () => turnHeadSchema.parse(JSON.parse(head))) : undefined;
}

function nameOf(id: string): string {
  return `conversation ${id}`;
}

/**
 * Counts the turns before a job's own that have not ended. It looks back as far as the latest answer: that job had
 * waited for those before it. A turn has ended when it has an answer or its job a record; or its job is gone a while
 * after the turn was taken; or its time has long passed.
 * Keys: the conversation. Arguments: the `position` of the turn, its job, the namespace's `prefix`: the other jobs' keys
 * are made of what the turns say. Returns: the number, or -1 when the turn is not the job's (any more).
 * Called by `countWaiting`, for the worker that has the job. It writes nothing.
 */
const COUNT_WAITING = new Script({
  keys: ["conversation"],
  args: { position: "text", jobId: "text", prefix: "text" },
  lua: `${NOW}${HAS_JOB}
    if redis.call('HGET', conversation, 'job:' .. jobId) ~= position then return -1 end
    local waiting = 0
    for n = position - 1, 0, -1 do
      if redis.call('HEXISTS', conversation, 'answer:' .. n) == 1 then break end
      local isRead, turn = pcall(cjson.decode, redis.call('HGET', conversation, 'turn:' .. n))
      local hasEnded = not isRead or type(turn) ~= 'table' or not turn.jobId
        or (now > turn.deadlineAt + ${LATE_MS} and redis.call('EXISTS', prefix .. ':waits:' .. turn.jobId) == 0)
        or redis.call('EXISTS', prefix .. ':result:' .. turn.jobId) == 1
        or (now > turn.createdAt + ${ENQUEUE_MS}
          and not hasJob(prefix, turn.queue, turn.jobId))
      if not hasEnded then waiting = waiting + 1 end
    end
    return waiting
  `,
});

/** Returns how many turns before the job's own have not ended; undefined when Redis does not have the job's turn. */
export async function countWaiting(
  store: Store,
  jobId: string,
  { id, position }: { id: string; position: number },
): Promise<number | undefined> {
  const keys = { conversation: store.keys.conversation(id) };
  const { prefix } = store.keys;
  const args = { position: String(position), jobId, prefix };
  const waiting = Number(await COUNT_WAITING.run(store.redis, keys, args));
  return waiting < 0 ? undefined : waiting;
}

/**
 * Lua: `answerTurn(conversation, turn, jobId, answer, use, before, ttlSeconds)` ends a turn that is the job's: adds its
 * answer (JSON) and its `use` to the sums, less what `before`, the job's record so far, has brought there already.
 * `use` has `calls`, `prompt`, `completion`, `cached` and `costUsd`, nil when nobody knows it; `isEstimated` where some of it is a guess.
 */
export const ANSWER_TURN = `
  local function answerTurn(conversation, turn, jobId, answer, use, before, ttlSeconds)
    if redis.call('HGET', conversation, 'job:' .. jobId) ~= turn then return end
    local function add(field, amount) redis.call('HINCRBY', conversation, field, amount) end
    local old = before and before.tokens or {prompt = 0, completion = 0, cached = 0}
    local oldCalls = before and before.calls or 0
    local oldCost = before and type(before.costUsd) == 'number' and before.costUsd or 0
    add('bytes', #answer - redis.call('HSTRLEN', conversation, 'answer:' .. turn))
    redis.call('HSET', conversation, 'answer:' .. turn, answer)
    add('calls', use.calls - oldCalls)
    add('promptTokens', use.prompt - old.prompt)
    add('completionTokens', use.completion - old.completion)
    add('cachedTokens', use.cached - (old.cached or 0))
    if use.costUsd then
      redis.call('HINCRBYFLOAT', conversation, 'costUsd', string.format('%.12f', use.costUsd - oldCost))
    elseif use.calls > oldCalls then add('unpriced', 1) end
    if use.isEstimated and use.calls > oldCalls then add('estimated', 1) end
    if redis.call('TTL', conversation) < ttlSeconds then redis.call('EXPIRE', conversation, ttlSeconds) end
  end
`;

/** Returns a turn's answer as `answerTurn` stores it. Of a job in no conversation nothing is kept. */
export async function storedAnswer(
  store: Store,
  id: string | undefined,
  answer: TurnAnswer | null,
): Promise<string> {
  const json = JSON.stringify(answer);
  return id === undefined ? json : store.sealing.seal(TURN_KIND, id, json);
}
