import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * Answers that a caller of the API may not have got whole: a list at `:undelivered:<digest of key and request>` of the ids of
 * the jobs that equal requests began. A client's retry (it says so by a header) takes one up instead of paying again.
 *
 * | a job's id | by             | who                                                            |
 * |------------|----------------|----------------------------------------------------------------|
 * | is added   | `expectAnswer` | the API, once the job is in Redis                              |
 * | is removed | `answered`     | the API, when the answer was sent whole                        |
 * | is moved   | `takeUp`       | the API, for a retry: to the end, so that another one comes next |
 * | is gone    | –              | 10 minutes after the list's last addition                      |
 */

const LIFE_MS = 600_000;

/**
 * Keys: the list. Arguments: the job's id, the list's life. Called by `expectAnswer`, for each request; one command, since a
 * transaction costs the API five. Fence: none; a job stands there once.
 */
const EXPECT = new Script({
  keys: ["list"],
  args: { jobId: "text", lifeMs: "number" },
  lua: `
    redis.call('LREM', list, 0, jobId)
    redis.call('RPUSH', list, jobId)
    redis.call('PEXPIRE', list, lifeMs)
  `,
});

/** Remembers that the answer of a job is still to be sent. */
export async function expectAnswer(store: Store, digest: string, jobId: string): Promise<void> {
  await EXPECT.run(store.redis, { list: await listOf(store, digest) }, { jobId, lifeMs: LIFE_MS });
}

/** Forgets it: the answer was sent. */
export async function answered(store: Store, digest: string, jobId: string): Promise<void> {
  await store.redis.lrem(await listOf(store, digest), 0, jobId);
}

/** Returns the job of an equal request whose answer was not sent; undefined when there is none. */
export async function takeUp(store: Store, digest: string): Promise<string | undefined> {
  const key = await listOf(store, digest);
  return (await store.redis.lmove(key, key, "LEFT", "RIGHT")) ?? undefined;
}

async function listOf({ keys, sealing }: Store, digest: string): Promise<string> {
  return keys.undelivered(await sealing.digest(digest));
}
