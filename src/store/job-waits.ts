import { z } from "zod";
import { type Decision, decisionSchema } from "../shared/approval.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { readStored } from "../shared/stored-data.ts";
import { HOLD_OF, jobKey, jobLockKey, partsOf } from "./bullmq-internals.ts";
import { SLEEP, sleepKeys, WAKE, WAKE_LOCALS } from "./bullmq-sleep.ts";
import { ANNOUNCE } from "./outbox.ts";
import { clockOf } from "./redis-clock.ts";
import { IS_CANCELLED } from "./result-record.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";

/*
 * What a suspended job waits for: a hash at `waits:<jobId>`. The job sleeps among BullMQ's delayed ones meanwhile, and no
 * worker has anything of it.
 *
 * | field                | value                                                                  | written by            |
 * |----------------------|------------------------------------------------------------------------|-----------------------|
 * | `approval:<callId>`  | JSON of what a person is asked: `approvalSchema`, its decision included | `suspendJob`, `decide` |
 * | `arguments:<callId>` | the arguments of that call, JSON                                       | `suspendJob`          |
 * | `child:<place>`      | the id of the job that answers the call at that place                  | `suspendJob`          |
 * | `queue`, `tenant`    | of the job                                                             | `suspendJob`          |
 *
 * | state of an approval | to       | by           | who                                                                |
 * |----------------------|----------|--------------|--------------------------------------------------------------------|
 * | none                 | asked    | `suspendJob` | the worker that has the job, as it puts it to sleep                |
 * | asked                | decided  | `decide`     | a person; after `expiresAt` a worker, as the tool's time-out says  |
 * | any                  | none     | –            | with the job's success, its cancellation, or after 31 days         |
 *
 * `:approvals` is a sorted set: the id of each job that somebody is asked about, by the time since when.
 */

/** Longer than any approval may take, and as its journal. */
const TTL_SECONDS = 31 * 86_400;

/** A part of a job's progress (BullMQ) that says since when it sleeps, in epoch milliseconds. */
export const SUSPENDED_AT = "suspendedAt";
/** The text in a job's progress (JSON) by which `wakeFirst` finds the jobs that sleep. */
export const SLEEPS = `"${SUSPENDED_AT}":`;

const approvalSchema = z.object({
  /** The call's own name in the job: the model's id of it, unless an earlier call had that. */
  callId: z.string(),
  /** The place of the call among the answers that count: `<generation>.<turn>.<index>`. */
  place: z.string(),
  toolName: z.string(),
  agent: z.string().optional(),
  askedAt: z.number(),
  expiresAt: z.number(),
  decision: decisionSchema.optional(),
});
/** A call of a tool that a person is asked about. */
export type Approval = z.infer<typeof approvalSchema>;

/** What a job waits for, or has waited for. */
export interface JobWaits {
  approvals: Approval[];
  /** Ids of the jobs that answer calls, by place. */
  children: Map<string, string>;
}

const ARGUMENTS_KIND = "arguments of call";
const DECISION_KIND = "decision on call";

/** A decision that is encrypted stands as a text in its place. */
async function openDecision(
  { sealing }: Store,
  jobId: string,
  callId: string,
  decision: unknown,
): Promise<unknown> {
  if (typeof decision !== "string") return decision;
  return parseJson(await sealing.open(DECISION_KIND, `${jobId}:${callId}`, decision));
}

/** In the order of the answers, and of the calls in each. */
const byPlace = new Intl.Collator("en", { numeric: true });

/** @throws GlueError `corrupt_data` */
export async function readWaits(store: Store, jobId: string): Promise<JobWaits> {
  const { redis, keys } = store;
  const fields = Object.entries(await redis.hgetall(keys.waits(jobId)));
  const of = (kind: string) => fields.filter(([name]) => name.startsWith(kind));
  const what = `what job ${jobId} waits for`;
  const asked = await Promise.all(
    of("approval:").map(async ([name, text]) => {
      const approval = fieldsOf(readStored(what, () => JSON.parse(text)));
      return {
        ...approval,
        decision: await openDecision(store, jobId, name.slice("approval:".length), approval.decision),
      };
    }),
  );
  return readStored(what, () => ({
    approvals: asked
      .map((approval) => approvalSchema.parse(approval))
      .sort((a, b) => byPlace.compare(a.place, b.place)),
    children: new Map(of("child:").map(([name, id]) => [name.slice("child:".length), id])),
  }));
}

/** Returns the arguments of a call that somebody is asked about; undefined when they are gone. */
export async function readArguments(store: Store, jobId: string, callId: string): Promise<unknown> {
  const { redis, keys, sealing } = store;
  const text = await redis.hget(keys.waits(jobId), `arguments:${callId}`);
  return parseJson((await sealing.openMaybe(ARGUMENTS_KIND, `${jobId}:${callId}`, text)) ?? "");
}

/**
 * Puts a job to sleep, unless something it waits for has come.
 * Keys: BullMQ's job, its lock and what `SLEEP` needs; the job's waits, its record, its journal, its conversation and its cost
 * ledger; the jobs that somebody is asked about; the outbox; as further keys the records of the jobs that it waits for. Arguments: the
 * job's `id`, `queue` and `tenant`, `token` of the lock, `wakeAt` in epoch milliseconds, the channel, the job's `progress` as JSON, `figures`
 * for the outbox; as further arguments the names and values of fields: what is asked is written once. Returns: 'suspended', 'news', or
 * 'fenced'. Called by `suspendJob`, at the end of an attempt. Fence: the job's lock.
 */
const SUSPEND = new Script({
  keys: [
    ...(["job", "lock", "waitingChildren", "delayed", "marker", "events", "active", "stalled"] as const),
    ...(["waits", "result", "journal", "conversation", "ledger", "approvals", "outbox"] as const),
  ],
  args: {
    ...{ id: "text", queue: "text", tenant: "text", token: "text", wakeAt: "number", channel: "text" },
    ...{ progress: "text", figures: "text" },
  },
  moreKeys: "children",
  moreArgs: "fields",
  lua: `${NOW}${HOLD_OF}${IS_CANCELLED}${SLEEP}${NOTIFY}${ANNOUNCE}
    if holdOf(job, lock, token) ~= 'held' then return 'fenced' end
    if isCancelled(result) then return 'news' end
    local isNew, isAsked = false, false
    for i = 1, #fields, 2 do
      local isWritten = redis.call('HSETNX', waits, fields[i], fields[i + 1]) == 1
      if string.sub(fields[i], 1, 9) == 'approval:' then
        isNew, isAsked = isNew or isWritten, true
        local isRead, approval = pcall(cjson.decode, redis.call('HGET', waits, fields[i]))
        if isRead and approval.decision then return 'news' end
      end
    end
    for _, child in ipairs(children) do
      if redis.call('EXISTS', child) == 1 then return 'news' end
    end
    if not leaveActive(id) then return 'fenced' end
    redis.call('HSET', waits, 'queue', queue, 'tenant', tenant)
    for _, key in ipairs({waits, journal, conversation, ledger}) do
      local ttl = redis.call('TTL', key)
      if ttl ~= -1 and ttl < ${TTL_SECONDS} then redis.call('EXPIRE', key, ${TTL_SECONDS}) end
    end
    redis.call('EXPIRE', waits, ${TTL_SECONDS})
    if isAsked then redis.call('ZADD', approvals, 'NX', now, id) end
    redis.call('HSET', job, 'progress', progress)
    delayUntil(id, wakeAt)
    if isNew then announce('job', id, tenant, 'suspended', figures) end
    notify('result', id)
    return 'suspended'
  `,
});

export interface SuspendedJob {
  jobId: string;
  queue: string;
  token: string;
  tenant?: string | undefined;
  conversation?: string | undefined;
  /** Of the job as BullMQ has it, which is kept with the time of its falling asleep. */
  progress: object;
  /** Why it waits, for people. */
  reason: string;
  /** What is asked, with the arguments of the call; none has a decision yet as far as its worker knows. */
  asked: readonly { approval: Approval; arguments: unknown }[];
  /** The jobs that answer calls: place and id. */
  children: readonly (readonly [place: string, jobId: string])[];
  /** When it looks by itself, in epoch milliseconds. */
  wakeAt: number;
}

/** Puts a job to sleep. `news`: something that it waits for has come meanwhile. `fenced`: another worker has it. */
export async function suspendJob(
  store: Store,
  { jobId, queue, token, tenant = "", conversation = "none", ...rest }: SuspendedJob,
): Promise<"suspended" | "news" | "fenced"> {
  const { keys, redis } = store;
  const { progress, reason, asked, children, wakeAt } = rest;
  const { active, stalled } = partsOf(store, queue);
  const given = await Promise.all(
    asked.map(async ({ approval, arguments: args }) => {
      const id = `${jobId}:${approval.callId}`;
      return [
        ...[`approval:${approval.callId}`, JSON.stringify(approval)],
        ...[
          `arguments:${approval.callId}`,
          await store.sealing.seal(ARGUMENTS_KIND, id, JSON.stringify(args ?? null)),
        ],
      ];
    }),
  );
  const fields = [...given.flat(), ...children.flatMap(([place, id]) => [`child:${place}`, id])];
  const now = clockOf(store).now();
  const names = asked.map(({ approval: { callId, toolName } }) => ({ callId, toolName }));
  return (await SUSPEND.run(
    redis,
    {
      ...{ job: jobKey(store, queue, jobId), lock: jobLockKey(store, queue, jobId), active, stalled },
      ...sleepKeys(store, queue),
      ...{ waits: keys.waits(jobId), result: keys.result(jobId), journal: keys.journal(jobId) },
      ...{ conversation: keys.conversation(conversation), ledger: keys.jobCost(jobId) },
      ...{ approvals: keys.approvals, outbox: keys.outbox },
    },
    {
      ...{ id: jobId, queue, tenant, token, wakeAt, channel: keys.channel },
      progress: JSON.stringify({ ...progress, waitsFor: reason, [SUSPENDED_AT]: now }),
      figures: JSON.stringify({ queue, approvals: names }),
    },
    { keys: children.map(([, id]) => keys.result(id)), args: fields },
  )) as "suspended" | "news" | "fenced";
}

/**
 * Decides an approval, and wakes its job.
 * Keys: the job's waits, the jobs that somebody is asked about. Arguments: the job's `id`, the `callId`, the `decision` as JSON, whether it is
 * that of a time-out, the `prefix` of the keys. Returns: 'unknown'; 'expired' when the time is over for a person, or not yet for a time-out; or
 * the decision that stands as JSON. Called by `decide`. Fence: none; the first decision stays.
 */
const DECIDE = new Script({
  keys: ["waits", "approvals"],
  args: { id: "text", callId: "text", decision: "text", isTimeout: "flag", prefix: "text" },
  lua: `${NOW}
    local text = redis.call('HGET', waits, 'approval:' .. callId)
    if not text then return 'unknown' end
    local approval = cjson.decode(text)
    if approval.decision then return cjson.encode(approval.decision) end
    if (now >= approval.expiresAt) ~= isTimeout then return 'expired' end
    redis.call('HSET', waits, 'approval:' .. callId, string.sub(text, 1, -2) .. ',"decision":' .. decision .. '}')
    local isOpen = false
    local fields = redis.call('HGETALL', waits)
    for i = 1, #fields, 2 do
      if string.sub(fields[i], 1, 9) == 'approval:' and not cjson.decode(fields[i + 1]).decision then isOpen = true end
    end
    if not isOpen then redis.call('ZREM', approvals, id) end
    local queue = redis.call('HGET', waits, 'queue')
    if queue then
      ${WAKE_LOCALS}${WAKE}
      wakeJob(id)
    end
    return decision
  `,
});

/**
 * Decides an approval, unless somebody has; the first decision stays.
 * @returns the one that stands; `unknown` when nobody is asked about that call; `expired` when its time is over
 */
export async function decide(
  store: Store,
  jobId: string,
  callId: string,
  decision: Decision,
  { isTimeout = false }: { isTimeout?: boolean } = {},
): Promise<Decision | "unknown" | "expired"> {
  const { redis, keys, sealing } = store;
  const json = JSON.stringify(decision);
  const sealed = sealing.isOn
    ? JSON.stringify(await sealing.seal(DECISION_KIND, `${jobId}:${callId}`, json))
    : json;
  const reply = (await DECIDE.run(
    redis,
    { waits: keys.waits(jobId), approvals: keys.approvals },
    { id: jobId, callId, decision: sealed, isTimeout, prefix: keys.prefix },
  )) as string;
  if (reply === "unknown" || reply === "expired") return reply;
  const what = `the approval ${callId} of job ${jobId}`;
  const standing: unknown = readStored(what, () => JSON.parse(reply));
  const opened = await openDecision(store, jobId, callId, standing);
  return readStored(what, () => decisionSchema.parse(opened));
}

/** Forgets what a job waited for: it has ended. Returns the jobs that it has begun. */
export async function forgetWaits(store: Store, jobId: string): Promise<string[]> {
  const { redis, keys } = store;
  const { children } = await readWaits(store, jobId).catch(() => ({ children: new Map<string, string>() }));
  await Promise.all([redis.del(keys.waits(jobId)), redis.zrem(keys.approvals, jobId)]);
  return [...children.values()];
}
