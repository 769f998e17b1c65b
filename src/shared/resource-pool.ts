import { InputError } from "./errors.ts";
import { namedPools } from "./named-pools.ts";
import { orAborted } from "./or-aborted.ts";
import type { Lease, ResourcePoolMetrics, ResourcePoolOptions } from "./resource-pool-options.ts";
import { within } from "./within.ts";

interface Slot<T> {
  resource: T;
  users: number;
  usedAt: number;
  isSuspect: boolean;
  /** It is used no more. */
  isBroken: boolean;
  checking: Promise<boolean> | undefined;
  idle: NodeJS.Timeout | undefined;
}

/** Its maker is its first user. */
const NEW_SLOT = { users: 1, isSuspect: false, checking: undefined, idle: undefined };

const CHECK_MS = 5000;
const NOTHING = () => {};

/**
 * Resources that are made when they are needed, used by one after the other (or by several at a time), checked, replaced when they
 * break, and ended when nobody needs them.
 *
 * ```ts
 * await using browsers = new ResourcePool({ create: launch, destroy: (b) => b.close(), check: (b) => b.isConnected(), max: 4 });
 * const title = await browsers.use(async (browser) => titleOf(browser, url));
 * ```
 */
export class ResourcePool<T> implements AsyncDisposable {
  readonly name: string | undefined;
  readonly #options: Required<Omit<ResourcePoolOptions<T>, "idleMs" | "name">> & {
    idleMs: number | undefined;
  };
  readonly #slots = new Set<Slot<T>>();
  readonly #closed = new AbortController();
  readonly #ends = new Set<Promise<void>>();
  /** All have ended, of a pool that closes. */
  readonly #drained = Promise.withResolvers<void>();
  readonly #waiting: (PromiseWithResolvers<void> & { ticket: number })[] = [];
  #tickets = 0;
  #creating = 0;
  #failuresInRow = 0;
  #notBefore = 0;
  readonly #counts = { created: 0, destroyed: 0, failedChecks: 0, failedCreates: 0 };

  /** Makes a pool; nothing is created yet. @throws InputError for a number that is none of the option's */
  constructor(options: ResourcePoolOptions<T>) {
    const {
      max = 1,
      maxUsers = 1,
      idleMs,
      checkAfterMs = 30_000,
      backoffMs = 100,
      maxBackoffMs = 5000,
    } = options;
    for (const [name, value] of Object.entries({ max, maxUsers }))
      if (!(value >= 1)) throw new InputError(`the pool's ${name} must be at least 1`);
    const { create, destroy = dispose, check = () => true } = options;
    this.name = options.name;
    if (this.name !== undefined) namedPools.add(this);
    this.#options = { create, destroy, check, max, maxUsers, idleMs, checkAfterMs, backoffMs, maxBackoffMs };
  }

  get metrics(): ResourcePoolMetrics {
    const [size, waiting] = [this.#slots.size, this.#waiting.length];
    return {
      size,
      inUse: [...this.#slots].filter(({ users }) => users > 0).length,
      waiting,
      ...this.#counts,
    };
  }

  /** Uses a resource. @throws what the work throws, after which the resource is checked; as `acquire` */
  async use<R>(work: (resource: T) => Promise<R> | R, signal?: AbortSignal): Promise<R> {
    await using lease = await this.acquire(signal);
    try {
      return await work(lease.resource);
    } catch (error) {
      lease.suspect();
      throw error;
    }
  }

  /**
   * Returns a resource that works, as soon as there is one; who asked first is first.
   * @throws what `create` throws; InputError `pool_closed`; the signal's reason
   */
  async acquire(signal?: AbortSignal): Promise<Lease<T>> {
    this.#tickets += 1;
    const ticket = this.#tickets;
    if (this.#waiting.length > 0) await this.#turn(signal, ticket);
    for (;;) {
      signal?.throwIfAborted();
      this.#closed.signal.throwIfAborted();
      const slot = this.#free();
      if (slot) {
        slot.users += 1;
        clearTimeout(slot.idle);
        // Another one may use it too.
        this.#wake();
        const works = await orAborted(signal, this.#works(slot)).catch((error) => {
          this.#release(slot);
          throw error;
        });
        if (works) return this.#lease(slot);
        slot.isBroken = true;
        this.#release(slot);
      } else if (this.#slots.size + this.#creating < this.#options.max) {
        await orAborted(signal, this.#create());
      } else await this.#turn(signal, ticket);
    }
  }

  /** Ends all resources; who waits for one is told so. Uses have 5 s to end. */
  async close(): Promise<void> {
    namedPools.delete(this);
    this.#closed.abort(new InputError("the pool is closed", undefined, "pool_closed"));
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    for (const slot of this.#slots) {
      slot.isBroken = true;
      if (slot.users === 0) this.#end(slot);
    }
    if (this.#slots.size > 0) await within(CHECK_MS, this.#drained.promise);
    for (const slot of this.#slots) this.#end(slot);
    await Promise.all(this.#ends);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The one that the fewest use. */
  #free(): Slot<T> | undefined {
    const free = [...this.#slots].filter(
      ({ users, isBroken }) => users < this.#options.maxUsers && !isBroken,
    );
    return free.toSorted((a, b) => a.users - b.users)[0];
  }

  /** Waits until something has changed, in the order in which callers came. */
  async #turn(signal: AbortSignal | undefined, ticket: number): Promise<void> {
    const turn = { ...Promise.withResolvers<void>(), ticket };
    const later = this.#waiting.findIndex((other) => other.ticket > ticket);
    this.#waiting.splice(later < 0 ? this.#waiting.length : later, 0, turn);
    try {
      await orAborted(signal, turn.promise);
    } catch (error) {
      const at = this.#waiting.indexOf(turn);
      // Its turn has come already: it is the next one's.
      if (at < 0) this.#wake();
      else this.#waiting.splice(at, 1);
      throw error;
    }
  }

  /** One that waits looks again. */
  #wake(): void {
    this.#waiting.shift()?.resolve();
  }

  async #works(slot: Slot<T>): Promise<boolean> {
    const isFresh = !slot.isSuspect && Date.now() - slot.usedAt < this.#options.checkAfterMs;
    if (isFresh) return true;
    slot.checking ??= this.#check(slot);
    return (await slot.checking) && !slot.isBroken;
  }

  async #check(slot: Slot<T>): Promise<boolean> {
    let works = false;
    const check = async () => {
      works = await this.#options.check(slot.resource);
    };
    await within(CHECK_MS, check());
    slot.isSuspect = false;
    slot.usedAt = Date.now();
    slot.checking = undefined;
    if (!works) this.#counts.failedChecks += 1;
    return works;
  }

  async #create(): Promise<void> {
    this.#creating += 1;
    try {
      await this.#backoff();
      const resource = await this.#options.create(this.#closed.signal);
      this.#failuresInRow = 0;
      this.#counts.created += 1;
      const isBroken = this.#closed.signal.aborted;
      const slot: Slot<T> = { ...NEW_SLOT, resource, usedAt: Date.now(), isBroken };
      this.#slots.add(slot);
      // Nobody may be there for it any more.
      this.#release(slot);
    } catch (error) {
      this.#counts.failedCreates += 1;
      const { backoffMs, maxBackoffMs } = this.#options;
      this.#notBefore = Date.now() + Math.min(maxBackoffMs, backoffMs * 2 ** this.#failuresInRow);
      this.#failuresInRow += 1;
      throw error;
    } finally {
      this.#creating -= 1;
      this.#wake();
    }
  }

  async #backoff(): Promise<void> {
    const waitMs = this.#notBefore - Date.now();
    if (waitMs <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    await orAborted(this.#closed.signal, promise).finally(() => clearTimeout(timer));
  }

  #lease(slot: Slot<T>): Lease<T> {
    let isOver = false;
    return {
      resource: slot.resource,
      suspect: () => {
        slot.isSuspect = true;
      },
      discard: () => {
        slot.isBroken = true;
      },
      [Symbol.asyncDispose]: async () => {
        if (isOver) return;
        isOver = true;
        slot.usedAt = Date.now();
        this.#release(slot);
      },
    };
  }

  #release(slot: Slot<T>): void {
    slot.users -= 1;
    const { idleMs } = this.#options;
    if (slot.users === 0 && slot.isBroken) this.#end(slot);
    else if (slot.users === 0 && idleMs !== undefined)
      slot.idle = setTimeout(() => this.#end(slot), idleMs).unref();
    this.#wake();
  }

  /** Its place is free at once. */
  #end(slot: Slot<T>): void {
    if (!this.#slots.delete(slot)) return;
    clearTimeout(slot.idle);
    this.#counts.destroyed += 1;
    const destroy = async () => this.#options.destroy(slot.resource);
    // It was broken, perhaps.
    const ended = destroy().then(NOTHING, NOTHING);
    this.#ends.add(ended);
    void ended.then(() => this.#ends.delete(ended));
    if (this.#slots.size === 0 && this.#closed.signal.aborted) this.#drained.resolve();
    this.#wake();
  }
}

async function dispose(resource: unknown): Promise<void> {
  const { [Symbol.asyncDispose]: later, [Symbol.dispose]: now } = Object(resource) as Partial<
    AsyncDisposable & Disposable
  >;
  if (later) await later.call(resource);
  else now?.call(resource);
}
