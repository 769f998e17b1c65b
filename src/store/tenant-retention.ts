import type { Queue } from "bullmq";
import { fieldsOf, parseJson } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import type { Retention } from "../shared/retention.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { isBlobRef, releaseBlob } from "./blobs.ts";
import { jobKey, partsOf } from "./bullmq-internals.ts";
import { readRegistry } from "./queue-registry.ts";
import { repliesOf } from "./redis.ts";
import { clockOf } from "./redis-clock.ts";
import { sweepEndedRuns } from "./run-retention.ts";
import type { Store } from "./store.ts";
import { listTenants, type TenantSettings } from "./tenant.ts";
import { withQueue } from "./with-queue.ts";

const DAY_MS = 86_400_000;
/** All failed jobs are looked at that a tenant could have: not as often as those that BullMQ finds by their age. */
const EVERY_MS = 3_600_000;
/** Jobs that are read at a time, with their requests. */
const CHUNK = 200;

/** Returns how long what has ended of a tenant stays in Redis: as the settings of all say, or less. */
export function retentionOf(
  retention: Retention,
  { resultDays, failedDays, conversationDays, runDays }: TenantSettings,
): Retention {
  const atMost = (ms: number, days: number | undefined) =>
    days === undefined ? ms : Math.min(ms, days * DAY_MS);
  return {
    ...retention,
    resultsMs: atMost(retention.resultsMs, resultDays),
    failedMs: atMost(retention.failedMs, failedDays),
    conversationsMs: atMost(retention.conversationsMs, conversationDays),
    runsMs: atMost(retention.runsMs, runDays),
  };
}

/**
 * Removes failed jobs and ended runs of tenants whose settings give them less time than those of all; at most once an hour. Called by
 * the process that is elected to remove what has ended.
 */
export async function sweepTenants(store: Store, retention: Retention, logger: Logger): Promise<void> {
  const { redis, keys } = store;
  const known = await listTenants(store);
  const own = [...known].map(
    ([tenant, settings]) => [tenant, retentionOf(retention, settings ?? {})] as const,
  );
  const less = (part: "failedMs" | "runsMs") =>
    new Map(own.flatMap(([tenant, { [part]: ms }]) => (ms < retention[part] ? [[tenant, ms] as const] : [])));
  const [failed, runs] = [less("failedMs"), less("runsMs")];
  if (failed.size + runs.size === 0) return;
  if ((await redis.set(keys.tenantSweep, "1", "PX", EVERY_MS, "NX")) !== "OK") return;
  let jobsRemoved = 0;
  if (failed.size > 0)
    for (const { name } of await readRegistry(store))
      jobsRemoved += await withQueue(store, name, (queue) => removeFailed(store, queue, failed));
  const now = await clockOf(store).fresh();
  let runsRemoved = 0;
  for (const [tenant, ms] of runs) runsRemoved += await sweepEndedRuns(store, now - ms, tenant);
  if (jobsRemoved + runsRemoved > 0)
    logger.debug({ jobs: jobsRemoved, runs: runsRemoved }, "what ended of tenants was removed by its age");
}

/** Removes the failed jobs of tenants, by the time that each of these has, with the requests that lie outside of them. */
async function removeFailed(
  store: Store,
  queue: Queue,
  tenants: ReadonlyMap<string, number>,
): Promise<number> {
  const { failed } = partsOf(store, queue.name);
  const now = Date.now();
  const latest = now - Math.min(...tenants.values());
  let removed = 0;
  for (let offset = 0; ; ) {
    const { redis } = store;
    const found = await redis.zrangebyscore(failed, "-inf", latest, "WITHSCORES", "LIMIT", offset, CHUNK);
    const pipeline = redis.pipeline();
    const ids = found.filter((_, n) => n % 2 === 0);
    for (const id of ids) pipeline.hget(jobKey(store, queue.name, id), "data");
    const data = ids.length > 0 ? await repliesOf(pipeline) : [];
    let gone = 0;
    for (const [n, id] of ids.entries()) {
      const { tenant = DEFAULT_TENANT, request } = fieldsOf(parseJson(String(data[n] ?? "null")));
      const ms = tenants.get(String(tenant));
      if (ms === undefined || Number(found[2 * n + 1]) > now - ms) continue;
      gone += await queue.remove(id);
      if (isBlobRef(request)) await releaseBlob(store, request, id);
    }
    removed += gone;
    if (ids.length < CHUNK) return removed;
    offset += CHUNK - gone;
  }
}
