import type { ResultRecord } from "../shared/records.ts";
import { type StreamEntry, streamEntrySchema, toStoredPiece } from "../shared/stream-events.ts";
import { repliesOf } from "./redis.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { openRecord } from "./stored-record.ts";

/*
 * The pieces of a job's answer while it is produced: a Redis stream at `stream:<jobId>`. Each provider call has a
 * token; its entries are numbered from 0, and the one of number 0 begins a turn.
 *
 * | from                  | to                     | by               | who                                                        |
 * |-----------------------|------------------------|------------------|------------------------------------------------------------|
 * | none, any             | the turn begins (anew) | `appendToStream` | number 0: what was there of it is void, and of later turns |
 * | the call's last entry | one entry more         | `appendToStream` | the worker that makes the call                             |
 * | any                   | none                   | –                | 1 h after its last entry                                   |
 */

const TTL_SECONDS = 3600;
/** A bound on what many short entries cost, 40 minutes of them; the writer bounds their bytes. */
const MAX_ENTRIES = 50_000;
const PAGE_ENTRIES = 100;
const KIND = "stream of job";

/**
 * Appends an entry once, whatever the connection made of its sender's command, and tells the readers. A start
 * (number 0) takes away what is void by it.
 * Keys: the stream. Arguments: the entry's fields (`pieces` as JSON), the `channel` of its readers.
 * Returns: an `AppendOutcome`. Called by `appendToStream`, for the worker that makes the call.
 * Fence: the token. A worker that was stopped past its lock writes nothing more once another call has begun.
 */
const APPEND = new Script({
  keys: ["stream"],
  args: {
    token: "text",
    turn: "number",
    number: "number",
    pieces: "text",
    channel: "text",
  },
  lua: `
    local function newestEntry()
      local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
      local fields = {}
      for i = 1, entry and #entry[2] or 0, 2 do fields[entry[2][i]] = entry[2][i + 1] end
      return fields, entry and entry[1]
    end
    local last, id = newestEntry()
    if last.token == token and tonumber(last.number) >= number then return 'appended' end
    if number > 0 then
      if last.token and last.token ~= token then return 'superseded' end
      if last.token == nil or tonumber(last.number) ~= number - 1 then return 'lost' end
    end
    while number == 0 and id and tonumber(last.turn) >= turn do
      redis.call('XDEL', stream, id)
      last, id = newestEntry()
    end
    redis.call('XADD', stream, 'MAXLEN', '~', ${MAX_ENTRIES}, '*',
      'token', token, 'turn', turn, 'number', number, 'pieces', pieces)
    redis.call('EXPIRE', stream, ${TTL_SECONDS})
    redis.call('PUBLISH', channel, turn)
    return 'appended'
  `,
});

/** `superseded`: another call writes this stream now. `lost`: Redis no longer has the entries before. */
export type AppendOutcome = "appended" | "superseded" | "lost";

/** Appends an entry, and tells the stream's readers. */
export async function appendToStream(
  store: Store,
  jobId: string,
  { pieces, ...entry }: StreamEntry,
): Promise<AppendOutcome> {
  const outcome = await APPEND.run(
    store.redis,
    { stream: store.keys.stream(jobId) },
    {
      ...entry,
      pieces: await store.sealing.seal(KIND, jobId, JSON.stringify(pieces.map(toStoredPiece))),
      channel: store.keys.topic(`stream:${jobId}`),
    },
  );
  return outcome as AppendOutcome;
}

export interface StreamPage {
  entries: StreamEntry[];
  /** Id of the last entry read so far; `0` before the first. */
  lastId: string;
  /** More entries may follow at once. */
  isFull: boolean;
  record: ResultRecord | undefined;
}

/**
 * Returns the entries after the one of id `after`, and the job's record. The record is read first: what a worker told,
 * it told before it wrote that.
 */
export async function readStreamPage(store: Store, jobId: string, after: string): Promise<StreamPage> {
  const pipeline = store.redis.pipeline().get(store.keys.result(jobId));
  pipeline.xread("COUNT", PAGE_ENTRIES, "STREAMS", store.keys.stream(jobId), after);
  const [record, streams] = (await repliesOf(pipeline)) as [
    string | null,
    [string, [string, string[]][]][] | null,
  ];
  const entries = streams?.[0]?.[1] ?? [];
  return {
    entries: await Promise.all(entries.map(([, fields]) => toEntry(store, jobId, fields))),
    lastId: entries.at(-1)?.[0] ?? after,
    isFull: entries.length === PAGE_ENTRIES,
    record: await openRecord(store, jobId, record),
  };
}

async function toEntry({ sealing }: Store, jobId: string, fields: string[]): Promise<StreamEntry> {
  const pairs = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]]] : []));
  const entry = Object.fromEntries(pairs) as { pieces?: string };
  const pieces = await sealing.open(KIND, jobId, entry.pieces ?? "");
  return streamEntrySchema.parse({ ...entry, pieces });
}
