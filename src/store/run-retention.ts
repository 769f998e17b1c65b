import type { BlobRef } from "../shared/catalog.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { isBlobRef, releaseBlob } from "./blobs.ts";
import { readRecord } from "./result-record.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The end of an ended run's life, where the settings give it less time than its keys have by themselves: its record and
 * journal, the results of its steps, and what of them lies in blobs.
 */

/** Runs that are looked at in one go. */
const CHUNK = 500;

/** Written down of a run whose steps another one has too. */
const FORKED = "forked";

/**
 * Removes an ended run.
 * Keys: its record, journal, signals and those of earlier parts, the lists of runs and of their deadlines. Arguments: its `id`, the time `before`
 * which it must have ended, the `prefix` of all keys. Returns: 1 when it did, else 0. Called by `sweepEndedRuns`. Fence: the record says that it has ended; one
 * that was retried runs. A child stays as long as its parent runs, which may still ask how it ended.
 */
const REMOVE = new Script({
  keys: ["run", "journal", "signals", "earlierSignals", "runs", "deadlines"],
  args: { id: "text", before: "number", prefix: "text" },
  lua: `
    local found = redis.call('HMGET', run, 'status', 'finishedAt', 'parentRunId')
    if not found[1] or found[1] == 'running' or (tonumber(found[2] or '') or before) >= before then return 0 end
    if found[3] and redis.call('HGET', prefix .. ':workflow:' .. found[3], 'status') == 'running' then return 0 end
    redis.call('DEL', run, journal, signals, earlierSignals)
    redis.call('ZREM', runs, id)
    redis.call('ZREM', deadlines, id)
    return 1
  `,
});

/** Removes the runs that ended before a time, in epoch milliseconds by Redis; with a tenant those of it. Returns how many. */
export async function sweepEndedRuns(store: Store, before: number, tenant?: string): Promise<number> {
  let removed = 0;
  // Who ended before it began before it: what stays in the list are runs that go on, or ended lately.
  for (let offset = 0; ; ) {
    const ids = await store.redis.zrangebyscore(
      store.keys.workflowRuns,
      "-inf",
      before,
      "LIMIT",
      offset,
      CHUNK,
    );
    const due = await endedBefore(store, ids, before, tenant);
    let gone = 0;
    for (const id of due) if (await removeRun(store, id, before)) gone += 1;
    removed += gone;
    if (ids.length < CHUNK) return removed;
    offset += CHUNK - gone;
  }
}

async function endedBefore(
  store: Store,
  ids: readonly string[],
  before: number,
  wanted: string | undefined,
): Promise<string[]> {
  const pipeline = store.redis.pipeline();
  for (const id of ids) pipeline.hmget(store.keys.workflow(id), "finishedAt", "tenant");
  const replies = (await pipeline.exec()) ?? [];
  return ids.filter((_, n) => {
    // One that is no record, or has no time, keeps none of the others.
    const [finishedAt, tenant] = (replies[n]?.[1] as (string | null)[] | null | undefined) ?? [];
    const isWanted = wanted === undefined || (tenant ?? DEFAULT_TENANT) === wanted;
    return isWanted && typeof finishedAt === "string" && Number(finishedAt) < before;
  });
}

async function removeRun(store: Store, id: string, before: number): Promise<boolean> {
  const { redis, keys } = store;
  const [[input, output, forked], journal] = await Promise.all([
    redis.hmget(keys.workflow(id), "input", "output", FORKED),
    // One that cannot be read is removed all the same.
    redis.lrange(keys.workflowJournal(id), 0, -1).catch(() => []),
  ]);
  const named = {
    run: keys.workflow(id),
    journal: keys.workflowJournal(id),
    signals: keys.workflowSignals(id),
    earlierSignals: keys.workflowEarlierSignals(id),
  };
  const lists = { runs: keys.workflowRuns, deadlines: keys.workflowDeadlines };
  if ((await REMOVE.run(redis, { ...named, ...lists }, { id, before, prefix: keys.prefix })) !== 1)
    return false;
  // What is lost in between ends by itself, with its 32 days.
  const entries = journal.map((json) => fieldsOf(parseJson(json)));
  const values = [input, output].map((json) => parseJson(json ?? "null"));
  for (const blob of [...values, ...entries.flatMap((entry) => [entry.blob, entry.value])].filter(
    isBlobRef,
  )) {
    await releaseBlob(store, blob, id);
  }
  if (!forked) for (const jobId of ownJobs(entries)) await removeResult(store, jobId);
  return true;
}

/** The jobs of its completions; those that a fork took over are another run's. */
function ownJobs(entries: readonly Record<string, unknown>[]): string[] {
  const taken = new Set(entries.flatMap(({ taken, step }) => (taken ? [step] : [])));
  return entries.flatMap(({ type, kind, job, step }) =>
    type === "asked" && kind === "completion" && typeof job === "string" && !taken.has(step) ? [job] : [],
  );
}

async function removeResult(store: Store, jobId: string): Promise<void> {
  const { redis, keys } = store;
  // One that cannot be read is removed all the same.
  const record = await readRecord(store, jobId).catch(() => undefined);
  await redis.del(keys.result(jobId), keys.journal(jobId));
  const blobs: BlobRef[] = [record?.response?.body, record?.toolExecutions, record?.output].filter(isBlobRef);
  for (const blob of blobs) await releaseBlob(store, blob, `result:${jobId}`);
}

/** Written before a fork begins: its steps are from now on another run's too, and stay as long as they do by themselves. */
export async function keepSteps({ redis, keys }: Store, runId: string): Promise<void> {
  await redis.hset(keys.workflow(runId), FORKED, "true");
}
