import { parseJson } from "../shared/json.ts";
import { journalLine, readJournalLines } from "./job-journal.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/**
 * Gives a new job what another one has finished. Keys: the other job's journal; the new one's journal, result and job. Arguments: the entries.
 * Returns nothing. Called by `forkJournal`. Fence: a job that has begun, or has ended, has a journal of its own.
 */
const FORK = new Script({
  keys: ["journal", "result", "job"],
  moreArgs: "entries",
  lua: `
    if redis.call('EXISTS', journal, result, job) > 0 then return end
    for _, entry in ipairs(entries) do redis.call('RPUSH', journal, entry) end
    redis.call('EXPIRE', journal, ${30 * 86_400})
  `,
});

/**
 * Lets the job `to` go on from what `from` has finished: its answers count as another's, which paid for them, and attempts begin anew.
 * Tools that began and did not end may have done something; they are told so, as after a crash.
 * @param jobKey BullMQ's key of the new job
 */
export async function forkJournal(
  store: Store,
  from: string,
  to: { id: string; jobKey: string },
): Promise<void> {
  const { redis, keys } = store;
  const entries = await readJournalLines(store, from);
  if (entries.length === 0) return;
  await FORK.run(
    redis,
    { journal: keys.journal(to.id), result: keys.result(to.id), job: to.jobKey },
    {},
    { args: await Promise.all(entries.map((text, n) => journalLine(store, to.id, n, taken(text)))) },
  );
}

const NOTHING = { prompt: 0, completion: 0, total: 0, cached: 0 };

function taken(text: string): string {
  const entry = parseJson(text) as { call?: object; attemptsMade?: number };
  const call = entry.call && { ...entry.call, tokens: NOTHING, costUsd: 0, latencyMs: 0, fromCache: true };
  return JSON.stringify({
    ...entry,
    ...(call && { call }),
    ...(entry.attemptsMade !== undefined && { attemptsMade: 0 }),
  });
}
