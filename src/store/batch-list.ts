import type { BatchRecord } from "../shared/records.ts";
import { isOwnedBy } from "../shared/tenant.ts";
import { readBatch } from "./batch.ts";
import { viewServedBatch } from "./served-batch.ts";
import type { ServedBatch } from "./served-batch-record.ts";
import type { Store } from "./store.ts";

/** A batch of the API (`served`), or one that a program or a command runs; `run` is there once rows are sent. */
export interface AnyBatch {
  id: string;
  served: ServedBatch | undefined;
  run: BatchRecord | undefined;
}

/** Where a list goes on: after this batch. */
interface Place {
  ms: number;
  id: string;
}

/** Ids of the API's batches; they sort by time. */
const SERVED_PREFIXES = ["batch_", "msgbatch_"] as const;
const SERVED_ID = /^(?:batch|msgbatch)_([0-9a-f]{8})-([0-9a-f]{4})-/;
const PAGE = 100;
/** Records that are read at a time. */
const GROUP = 50;

/** Returns a batch of a tenant; undefined when there is none. */
export async function readAnyBatch(store: Store, id: string, tenant: string): Promise<AnyBatch | undefined> {
  const view = await viewServedBatch(store, id, tenant);
  if (view) return { id, served: view.batch, run: view.run };
  if (SERVED_ID.test(id)) return undefined;
  const run = await readBatch(store, id);
  return run && isOwnedBy(tenant, run) ? { id, served: undefined, run } : undefined;
}

/**
 * Returns a page of a tenant's batches, whoever runs them, the newest first; `cursor` leads to the next page.
 * @param isWanted says which of them are listed
 */
export async function listAnyBatches(
  store: Store,
  {
    tenant,
    limit,
    cursor,
    isWanted,
  }: { tenant: string; limit: number; cursor?: string | undefined; isWanted: (batch: AnyBatch) => boolean },
): Promise<{ batches: AnyBatch[]; cursor: string | null }> {
  const after = readCursor(cursor);
  const batches: AnyBatch[] = [];
  let last: Place | undefined;
  const sources = [
    ...SERVED_PREFIXES.map((prefix) => servedPlaces(store, tenant, prefix, after)),
    programPlaces(store, after),
  ];
  for await (const places of inGroups(newestFirst(sources))) {
    const found = await Promise.all(places.map(({ id }) => readAnyBatch(store, id, tenant)));
    for (const [i, batch] of found.entries()) {
      if (!batch || !isWanted(batch)) continue;
      if (batches.length === limit) return { batches, cursor: last ? `${last.ms}.${last.id}` : null };
      batches.push(batch);
      last = places[i];
    }
  }
  return { batches, cursor: null };
}

async function* inGroups(places: AsyncGenerator<Place>): AsyncGenerator<Place[]> {
  let group: Place[] = [];
  for await (const place of places) {
    group.push(place);
    if (group.length < GROUP) continue;
    yield group;
    group = [];
  }
  yield group;
}

function readCursor(cursor: string | undefined): Place | undefined {
  const [, ms, id] = /^(\d{1,15})\.([\w-]{1,100})$/.exec(cursor ?? "") ?? [];
  return ms === undefined || id === undefined ? undefined : { ms: Number(ms), id };
}

function isAfter({ ms, id }: Place, other: Place): boolean {
  return ms < other.ms || (ms === other.ms && id < other.id);
}

async function* servedPlaces(
  { redis, keys }: Store,
  tenant: string,
  prefix: string,
  after: Place | undefined,
): AsyncGenerator<Place> {
  const key = keys.servedBatches(tenant);
  const hex = after?.ms.toString(16).padStart(12, "0");
  let start = hex === undefined ? `[${prefix}~` : `[${prefix}${hex.slice(0, 8)}-${hex.slice(8)}-~`;
  for (;;) {
    const ids = await redis.zrevrangebylex(key, start, `[${prefix}`, "LIMIT", 0, PAGE);
    for (const id of ids) {
      const [, high = "0", low = "0"] = SERVED_ID.exec(id) ?? [];
      const place = { id, ms: Number.parseInt(high + low, 16) };
      if (!after || isAfter(place, after)) yield place;
    }
    if (ids.length < PAGE) return;
    start = `(${ids.at(-1)}`;
  }
}

/** Those of all tenants, without the API's, which are listed here too when they run. */
async function* programPlaces({ redis, keys }: Store, after: Place | undefined): AsyncGenerator<Place> {
  for (let from = 0; ; from += PAGE) {
    const page = await redis.zrevrangebyscore(
      ...([keys.batches, after?.ms ?? "+inf", "-inf", "WITHSCORES", "LIMIT", from, PAGE] as const),
    );
    for (let i = 0; i < page.length; i += 2) {
      const place = { id: page[i] ?? "", ms: Number(page[i + 1]) };
      if (!SERVED_ID.test(place.id) && (!after || isAfter(place, after))) yield place;
    }
    if (page.length < 2 * PAGE) return;
  }
}

async function* newestFirst(sources: readonly AsyncGenerator<Place>[]): AsyncGenerator<Place> {
  const heads = await Promise.all(sources.map((source) => source.next()));
  for (;;) {
    let newest: number | undefined;
    for (const [i, head] of heads.entries()) {
      const best = newest === undefined ? undefined : (heads[newest]?.value as Place | undefined);
      if (!head.done && (!best || isAfter(best, head.value))) newest = i;
    }
    const source = newest === undefined ? undefined : sources[newest];
    if (newest === undefined || !source) return;
    yield heads[newest]?.value as Place;
    heads[newest] = await source.next();
  }
}
