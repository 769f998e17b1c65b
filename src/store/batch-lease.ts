import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Redis } from "ioredis";
import { InputError } from "../shared/errors.ts";
import { identityOf, isAlive } from "../shared/process-identity.ts";
import { LEASE_LAPSE_MS, LEASE_LIFE_MS, type LeaseHolder, leaseHolderSchema } from "../shared/records.ts";
import { RedisScript } from "./redis-script.ts";
import type { Store } from "./store.ts";

/** Takes a lease that is free, lapsed, ours, or exactly the one of a holder known to be dead. */
const ACQUIRE = new RedisScript(`
  local lease, me, life, lapse, dead = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
  local holder = redis.call('GET', lease)
  if holder and holder ~= me and holder ~= dead and redis.call('PTTL', lease) > life - lapse then return holder end
  redis.call('SET', lease, me, 'PX', life)
  return false
`);

const RELEASE = new RedisScript(`
  if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`);

const RENEW_MS = 5000;

/**
 * Who may feed a batch. The key lives 75 s: a holder that has not renewed it for 15 s may be replaced, and while
 * the key is gone (60 s later) workers start no further row.
 */
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

  async #take(deadHolder = ""): Promise<{ json: string; parsed: LeaseHolder } | undefined> {
    const json = await ACQUIRE.run(
      this.#redis,
      [this.#key],
      [this.#me, LEASE_LIFE_MS, LEASE_LAPSE_MS, deadHolder],
    );
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

  async release(): Promise<void> {
    clearInterval(this.#timer);
    await RELEASE.run(this.#redis, [this.#key], [this.#me]);
  }
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
