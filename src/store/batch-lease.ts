import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Redis } from "ioredis";
import { GlueError, InputError } from "../shared/errors.ts";
import { identityOf, isAlive } from "../shared/process-identity.ts";
import { LEASE_LAPSE_MS, LEASE_LIFE_MS, type LeaseHolder, leaseHolderSchema } from "../shared/records.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A batch's lease: a string at `batch:<id>:lease`, the JSON of who sends the batch's rows. It lives 75 s, so that one
 * key tells two things: not renewed for 15 s, it may be taken over; gone, workers start no row of the batch.
 *
 * | from         | to   | by              | who                                                                |
 * |--------------|------|-----------------|--------------------------------------------------------------------|
 * | none         | held | `Lease.acquire` | whoever will send the rows                                         |
 * | held         | held | `Lease`         | its holder, every 5 s                                              |
 * | lapsed, dead | held | `Lease.acquire` | another one; a holder is known to be dead on its own machine alone |
 * | held         | none | `Lease.release` | its holder                                                         |
 * | lapsed       | none | –               | 75 s after its last renewal                                        |
 */

/**
 * Takes a lease that is free, lapsed, the caller's own, or exactly the one of a holder known to be dead.
 * Keys: the lease. Arguments: `me` and `dead`, the holders' JSON, `dead` empty when there is none. Returns: the holder's
 * JSON when it stays another one's, else nothing. Called by `Lease`, to take the lease and to renew it; it also puts
 * one back that Redis has lost. Fence: the token in `me`.
 */
const ACQUIRE = new Script({
  keys: ["lease"],
  args: { me: "text", dead: "text" },
  lua: `
    local holder = redis.call('GET', lease)
    local isFresh = redis.call('PTTL', lease) > ${LEASE_LIFE_MS - LEASE_LAPSE_MS}
    if holder and holder ~= me and holder ~= dead and isFresh then return holder end
    redis.call('SET', lease, me, 'PX', ${LEASE_LIFE_MS})
    return false
  `,
});

/**
 * Gives the lease up.
 * Keys: the lease. Arguments: `me`, the holder's JSON. Returns nothing. Called by `Lease.release`. Fence: the token in
 * `me`: a lease that another run took over stays.
 */
const RELEASE = new Script({
  keys: ["lease"],
  args: { me: "text" },
  lua: `
    if redis.call('GET', lease) == me then redis.call('DEL', lease) end
  `,
});

const RENEW_MS = 5000;

/** This process's right to send the rows of a batch, which it renews until it releases it. */
export class Lease {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #me: string;
  #timer: NodeJS.Timeout | undefined;
  /** Set when somebody else took the lease over: this run must stop touching the batch. */
  lostTo: LeaseHolder | undefined;

  private constructor(redis: Redis, key: string, me: string) {
    this.#redis = redis;
    this.#key = key;
    this.#me = me;
  }

  /** @throws InputError naming the holder when another live run has the batch. */
  static async acquire(store: Store, batchId: string): Promise<Lease> {
    const startedAt = identityOf(process.pid)?.startedAt ?? "";
    const me: LeaseHolder = { host: hostname(), pid: process.pid, startedAt, token: randomUUID() };
    const lease = new Lease(store.redis, store.keys.batchLease(batchId), JSON.stringify(me));
    const holder = await lease.#take();
    if (holder) {
      // A run that was killed on this machine is replaced at once; one elsewhere has its 15 s.
      if (!isDeadHere(holder.parsed) || (await lease.#take(holder.json)))
        throw heldBy(batchId, holder.parsed);
    }
    lease.#timer = setInterval(() => void lease.#renew(), RENEW_MS);
    return lease;
  }

  /** Returns the holder when the lease stays another one's. */
  async #take(deadHolder = ""): Promise<{ json: string; parsed: LeaseHolder } | undefined> {
    const json = await ACQUIRE.run(this.#redis, { lease: this.#key }, { me: this.#me, dead: deadHolder });
    return typeof json === "string" ? { json, parsed: leaseHolderSchema.parse(JSON.parse(json)) } : undefined;
  }

  /** Also puts the lease back after Redis lost it. */
  async #renew(): Promise<void> {
    const holder = await this.#take().catch(() => undefined);
    if (holder) {
      this.lostTo = holder.parsed;
      clearInterval(this.#timer);
    }
  }

  /** @throws GlueError `lease_lost` when this process knows that another one has taken it over */
  check(): void {
    if (!this.lostTo) return;
    throw new GlueError({
      code: "lease_lost",
      category: "internal",
      message: `the batch was taken over by process ${this.lostTo.pid} on ${this.lostTo.host}`,
      hint: "this run stopped for longer than 15 s; the other one goes on with the batch",
    });
  }

  /** Asks Redis, before what only the holder may do: a process that stood still does not know yet. @throws GlueError `lease_lost` */
  async confirm(): Promise<void> {
    const holder = await this.#take();
    if (holder) this.lostTo = holder.parsed;
    this.check();
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    await RELEASE.run(this.#redis, { lease: this.#key }, { me: this.#me });
  }
}

/** Returns who sends a batch's rows; undefined when nobody does. */
export async function readLease(store: Store, batchId: string): Promise<LeaseHolder | undefined> {
  const json = await store.redis.get(store.keys.batchLease(batchId));
  return json === null ? undefined : leaseHolderSchema.parse(JSON.parse(json));
}

function isDeadHere({ host, pid, startedAt }: LeaseHolder): boolean {
  return host === hostname() && !isAlive({ pid, startedAt });
}

function heldBy(batchId: string, { host, pid }: LeaseHolder): InputError {
  return new InputError(
    `batch ${batchId} is being run by process ${pid} on ${host}`,
    `let it finish or stop it there; if that machine is gone, try again in ${LEASE_LAPSE_MS / 1000} seconds`,
    "batch_leased",
  );
}
