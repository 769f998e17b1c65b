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
export async function expectAnswer({ redis, keys }: Store, digest: string, jobId: string): Promise<void> {
  await EXPECT.run(redis, { list: keys.undelivered(digest) }, { jobId, lifeMs: LIFE_MS });
}

/** Forgets it: the answer was sent. */
export async function answered({ redis, keys }: Store, digest: string, jobId: string): Promise<void> {
  await redis.lrem(keys.undelivered(digest), 0, jobId);
}

/** Returns the job of an equal request whose answer was not sent; undefined when there is none. */
export async function takeUp({ redis, keys }: Store, digest: string): Promise<string | undefined> {
  const key = keys.undelivered(digest);
  return (await redis.lmove(key, key, "LEFT", "RIGHT")) ?? undefined;
}
