import { type HistorySummary, historySummarySchema } from "../shared/conversation.ts";
import { readStored } from "../shared/stored-data.ts";
import { Script } from "./script.ts";
import { openFields, sealFields } from "./sealed-fields.ts";
import type { Store } from "./store.ts";

/*
 * What stands for the oldest turns of a conversation in the requests that ask for a summary: the field `summary` of the
 * conversation's hash (conversation.ts), with which it expires.
 *
 * | from      | to               | by            | who                                          |
 * |-----------|------------------|---------------|----------------------------------------------|
 * | none, any | one of more turns | `keepSummary` | the worker of the turn that paid the summary |
 */

const KIND = "summary of conversation";

/**
 * Keeps the summary of the oldest turns, for the calls to come.
 * Keys: the conversation. Arguments: the `position` of the turn whose job made it, that job, the `summary` as JSON, how many
 * `turns` it stands for. Returns: `kept`, or `late` when there is one of as many turns, or the turn is not the job's.
 * Called by `keepSummary`, for the worker that has the job, which keeps it again after a crash. Fence: a summary gives way
 * only to one of more turns.
 */
const KEEP_SUMMARY = new Script({
  keys: ["conversation"],
  args: { position: "text", jobId: "text", summary: "text", turns: "number" },
  lua: `
    if redis.call('HGET', conversation, 'job:' .. jobId) ~= position then return 'late' end
    local before = redis.call('HGET', conversation, 'summary')
    local isRead, old = pcall(cjson.decode, before or '')
    if isRead and type(old) == 'table' and tonumber(old.turns or 0) >= turns then return 'late' end
    redis.call('HSET', conversation, 'summary', summary)
    redis.call('HINCRBY', conversation, 'bytes', #summary - #(before or ''))
    return 'kept'
  `,
});

/** Keeps the summary that a turn's job has made of the turns before it. */
export async function keepSummary(
  store: Store,
  jobId: string,
  { id, position }: { id: string; position: number },
  summary: HistorySummary,
): Promise<void> {
  // How many turns it stands for is read by the script.
  const kept = await sealFields(store, { kind: KIND, id }, summary, (name) => name === "turns");
  await KEEP_SUMMARY.run(
    store.redis,
    { conversation: store.keys.conversation(id) },
    { position: String(position), jobId, summary: JSON.stringify(kept), turns: summary.turns },
  );
}

/** Returns the latest summary of a conversation's oldest turns; undefined when there is none. */
export async function readSummary(store: Store, id: string): Promise<HistorySummary | undefined> {
  const summary = await store.redis.hget(store.keys.conversation(id), "summary");
  if (!summary) return undefined;
  const what = `conversation ${id}`;
  const stored: unknown = readStored(what, () => JSON.parse(summary));
  const opened = await openFields(store, { kind: KIND, id }, stored);
  return readStored(what, () => historySummarySchema.parse(opened));
}
