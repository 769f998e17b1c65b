import { counted } from "../shared/counted.ts";
import { GlueError } from "../shared/errors.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The open jobs of a tenant beside `default`, and of `default` under a limit of those: the sorted set `:tenant:<name>:open`, job id → until when it can be open. The
 * scripts that make an end final take it out (`END_OPEN`); a job that was lost leaves by its time.
 */

/** After a job's deadline: its last call may still run. */
const MARGIN_MS = 3_600_000;

/**
 * Takes a job in. Keys: the tenant's open jobs. Arguments: the job's id, until when it may be open, how many the tenant may
 * have. Returns: 0, or how many it has. Called before a job is added. Fence: a job that is in stays.
 */
const OPEN = new Script({
  keys: ["open"],
  args: { jobId: "text", openUntil: "number", max: "number" },
  lua: `${NOW}
    redis.call('ZREMRANGEBYSCORE', open, '-inf', now)
    local count = redis.call('ZCARD', open)
    if count >= max and not redis.call('ZSCORE', open, jobId) then return count end
    redis.call('ZADD', open, openUntil, jobId)
    local last = redis.call('ZREVRANGE', open, 0, 0, 'WITHSCORES')
    redis.call('PEXPIREAT', open, string.format('%.0f', tonumber(last[2])))
    return 0
  `,
});

/** Lua: `endOpen(open, jobId)` takes a job that has ended out of its tenant's open ones. */
export const END_OPEN = `
  local function endOpen(open, jobId) redis.call('ZREM', open, jobId) end
`;

/** Counts a job among its tenant's open ones. @throws GlueError `tenant_queue_full` */
export async function openTenantJob(
  { redis, keys }: Store,
  tenant: string,
  { jobId, deadlineAt, max }: { jobId: string; deadlineAt: number; max: number },
): Promise<void> {
  const count = await OPEN.run(
    redis,
    { open: keys.tenantOpen(tenant) },
    { jobId, openUntil: deadlineAt + MARGIN_MS, max },
  );
  if (count === 0) return;
  throw new GlueError({
    code: "tenant_queue_full",
    category: "rate_limit",
    message: `tenant ${tenant} has ${counted(Number(count), "job")} that ${Number(count) === 1 ? "waits or runs" : "wait or run"}, and may have ${max}`,
    hint: `wait until some have ended, or raise its limit: gluellm tenants set ${tenant} --max-queued-jobs`,
  });
}

/** Takes a job out that was not added after all. */
export async function closeTenantJob({ redis, keys }: Store, tenant: string, jobId: string): Promise<void> {
  await redis.zrem(keys.tenantOpen(tenant), jobId);
}

/** Returns how many open jobs a tenant has; 0 where they are not counted. */
export async function countTenantJobs({ redis, keys }: Store, tenant: string): Promise<number> {
  return redis.zcount(keys.tenantOpen(tenant), Date.now(), "+inf");
}
