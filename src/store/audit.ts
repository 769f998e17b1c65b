import { randomUUID } from "node:crypto";
import { GlueError } from "../shared/errors.ts";
import { Script } from "./script.ts";
import { stateDigest } from "./state-digest.ts";
import type { Store } from "./store.ts";
import type { GroupEntry } from "./stream-group.ts";

/*
 * The audit: who did what to what. `:audit` is a hash, `:outbox:audit` a stream of numbered entries, which their consumer takes into SQL
 * and which nothing else trims.
 *
 * | field of `:audit` | value                                                                    | set by                       |
 * |-------------------|--------------------------------------------------------------------------|------------------------------|
 * | `on`              | since when acts are written down, epoch milliseconds; absent: they are not | `switchAuditOn`, `…Off`    |
 * | `maxWaiting`      | so many entries may wait; then acts are refused                          | `switchAuditOn`              |
 * | `number`          | of the latest entry                                                      | `APPEND`                     |
 * | `epoch`           | names this count, which begins anew in a Redis that was emptied          | `APPEND`                     |
 * | `head`, `hash`    | of the last entry that is in SQL: its place in the chain and its HMAC    | `noteHead`                   |
 *
 * An act has two entries: `begun`, without which it is not done, and `ended`, which names the first one. One without an end was
 * cut off: what came of it is not known.
 */

/** Somebody's act, before it is done. */
export interface Act {
  /** A key's id; `link`, `password` or `anyone` of the dashboard; `cli:<user>@<host>`; `local` where no keys are needed. */
  actor: string;
  role?: string | undefined;
  address?: string | undefined;
  tenant: string;
  /** `POST /api/queues/:name/pause`, `gluellm keys revoke`. */
  action: string;
  /** Id or name of what it is done to; absent: there is none yet, or there are many. */
  target?: string | undefined;
  requestId?: string | undefined;
}

/** What became of it. */
export interface ActEnd {
  /** `done`, or the code of the error. */
  outcome: string;
  /** Of what it made. */
  target?: string | undefined;
  /** Where only the end tells who it was, as at a login. */
  actor?: string | undefined;
  role?: string | undefined;
}

/** An act under way. */
export interface OpenAct {
  /** Writes its end. Call it once. */
  end(end: ActEnd): Promise<void>;
}

/**
 * Writes an entry. Keys: the audit, its stream. Arguments: `phase`, `fresh` (the name of a new count), then names and values of the entry.
 * Returns: the entry's number; 0: acts are not written down; `-n`: n entries wait, the act is refused. Called by `Audit.begin` and its
 * ends. Fence: `on`; an end is written whatever waits, since its act is done.
 */
const APPEND = new Script({
  keys: ["audit", "stream"],
  args: { phase: "text", fresh: "text" },
  moreArgs: "entry",
  lua: `
    local found = redis.call('HMGET', audit, 'on', 'maxWaiting')
    if not found[1] and phase == 'begun' then return 0 end
    if phase == 'begun' then
      local waiting = redis.call('XLEN', stream)
      if waiting >= (tonumber(found[2] or '') or ${100_000}) then return -waiting end
    end
    redis.call('HSETNX', audit, 'epoch', fresh)
    local number = redis.call('HINCRBY', audit, 'number', 1)
    local time = redis.call('TIME')
    local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('XADD', stream, '*', 'number', number, 'epoch', redis.call('HGET', audit, 'epoch'), 'at', at, 'phase', phase, unpack(entry))
    return number
  `,
});

/** How old what a process knows of `on` may be. */
const FRESH_MS = 1000;

/** Writes down acts of a process's callers. */
export class Audit {
  readonly #store: Store;
  #isOn = false;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Writes that an act begins; what it returns writes its end. Undefined: acts are not written down.
   * @throws GlueError `audit_full`: the act is not to be done
   */
  async begin(act: Act): Promise<OpenAct | undefined> {
    if (!(await this.#knowsOn())) return undefined;
    const { target, ...who } = act;
    const before = target === undefined ? undefined : await stateDigest(this.#store, target);
    const number = await this.#append("begun", { ...who, target, digest: before });
    if (number === 0) return undefined;
    if (number < 0) throw auditFull(-number);
    return {
      end: async ({ outcome, target: made = target, ...whoElse }) => {
        const after = made === undefined ? undefined : await stateDigest(this.#store, made);
        const { tenant, action } = act;
        const ended = { tenant, action, ...whoElse, target: made, digest: after, outcome };
        await this.#append("ended", { ...ended, act: String(number) });
      },
    };
  }

  /** Does an act and writes it down, before and after. @throws GlueError `audit_full`; what the act throws */
  async around<T>(act: Act, perform: () => Promise<T>): Promise<T> {
    const open = await this.begin(act);
    try {
      const result = await perform();
      await open?.end({ outcome: "done" });
      return result;
    } catch (error) {
      await open?.end({ outcome: outcomeOf(error) }).catch(() => {});
      throw error;
    }
  }

  async #knowsOn(): Promise<boolean> {
    if (performance.now() - this.#readAt > FRESH_MS) {
      this.#isOn = (await this.#store.redis.hexists(this.#store.keys.audit, "on")) === 1;
      this.#readAt = performance.now();
    }
    return this.#isOn;
  }

  async #append(phase: "begun" | "ended", fields: Record<string, string | undefined>): Promise<number> {
    const { redis, keys } = this.#store;
    const entry = Object.entries(fields).flatMap(([name, value]) =>
      value === undefined ? [] : [name, value.slice(0, MAX_TEXT_CHARS)],
    );
    const named = { audit: keys.audit, stream: keys.outboxAudit };
    return Number(await APPEND.run(redis, named, { phase, fresh: randomUUID() }, { args: entry }));
  }
}

/** Of a name or an id that somebody chose. */
const MAX_TEXT_CHARS = 500;

/** Returns the word for an act that failed: the error's code, never its text. */
export function outcomeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && /^\w{1,60}$/.test(code) ? code : "error";
}

function auditFull(waiting: number): GlueError {
  return new GlueError({
    code: "audit_full",
    category: "connection",
    message: `nothing is changed: ${waiting} entries of the audit wait to be written to its database, and no more may`,
    hint: "start a worker or an API with GLUELLM_AUDIT_KEY and the database; gluellm audit status shows what waits",
  });
}

/** How the audit stands. */
export interface AuditState {
  /** Since when acts are written down; undefined: they are not. */
  since: number | undefined;
  maxWaiting: number | undefined;
  /** Entries that are not in SQL yet. */
  waiting: number;
  /** Of the latest entry; 0: there is none. */
  number: number;
  epoch: string | undefined;
  /** The last entry that is in SQL, as its consumer noted here: its place, and its HMAC. */
  head: number;
  hash: string | undefined;
}

export async function readAuditState({ redis, keys }: Store): Promise<AuditState> {
  const [found, waiting] = await Promise.all([redis.hgetall(keys.audit), redis.xlen(keys.outboxAudit)]);
  const numberOf = (name: string) => (found[name] === undefined ? undefined : Number(found[name]));
  return {
    ...{ since: numberOf("on"), maxWaiting: numberOf("maxWaiting"), waiting },
    ...{ number: numberOf("number") ?? 0, epoch: found.epoch, head: numberOf("head") ?? 0, hash: found.hash },
  };
}

/** Has acts written down from now on, by all processes of the namespace; `maxWaiting`: see `AuditState`. */
export async function switchAuditOn({ redis, keys }: Store, maxWaiting: number): Promise<void> {
  await redis.multi().hsetnx(keys.audit, "on", Date.now()).hset(keys.audit, { maxWaiting }).exec();
}

/** Ends the writing; what waits stays. Returns whether it was on. */
export async function switchAuditOff({ redis, keys }: Store): Promise<boolean> {
  return (await redis.hdel(keys.audit, "on")) === 1;
}

/**
 * Notes the end of the chain in SQL. Keys: the audit. Arguments: its place `head`, its `hash`. Returns nothing. Called by `noteHead`. Fence: it is
 * only ever raised, whoever was stopped before it noted an earlier one.
 */
const NOTE_HEAD = new Script({
  keys: ["audit"],
  args: { head: "number", hash: "text" },
  lua: `
    local known = tonumber(redis.call('HGET', audit, 'head') or '') or 0
    if head > known then redis.call('HSET', audit, 'head', head, 'hash', hash) end
  `,
});

/** Notes in Redis how far the chain in SQL has come, so that one of both that is set back shows. */
export async function noteHead({ redis, keys }: Store, head: number, hash: string): Promise<void> {
  await NOTE_HEAD.run(redis, { audit: keys.audit }, { head, hash });
}

/** Returns the numbers of the entries that are not in SQL yet. */
export async function waitingNumbers({ redis, keys }: Store): Promise<Set<number>> {
  const entries = await redis.xrange(keys.outboxAudit, "-", "+");
  return new Set(entries.map(([, fields]) => Number(fields[fields.indexOf("number") + 1])));
}

/**
 * Returns the oldest entries that are not in SQL yet. Not by a group of readers, of which each would get others: who was stopped past the
 * end of its lease, and goes on beside its successor, has to come to the same chain.
 */
export async function oldestEntries({ redis, keys }: Store, count: number): Promise<GroupEntry[]> {
  const entries = await redis.xrange(keys.outboxAudit, "-", "+", "COUNT", count);
  return entries.map(([id, fields]) => ({ id, fields }));
}

/** Takes entries that are in SQL out of the stream. */
export async function forgetActs({ redis, keys }: Store, ids: readonly string[]): Promise<void> {
  await redis.xdel(keys.outboxAudit, ...ids);
}
