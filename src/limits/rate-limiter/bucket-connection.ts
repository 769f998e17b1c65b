import { setImmediate } from "node:timers/promises";
import Bottleneck from "bottleneck";
import { Redis } from "ioredis";

/**
 * Bottleneck recognises these by the whole message, but Redis 7 puts `ERR ` before what a script returns as
 * an error: without the repair an emptied Redis leaves every waiting job hanging.
 */
const SCRIPT_ERROR = /SETTINGS_KEY_NOT_FOUND|UNKNOWN_CLIENT/;

type ScriptCallback = (error: Error | null, reply?: unknown) => void;
type ScriptFunction = (...args: unknown[]) => unknown;

/**
 * The two connections (commands, subscriptions) that all buckets of a process share. They are copies of
 * `redis`, opened at once, that wait for Redis through any outage.
 */
export class BucketConnection {
  readonly client: Redis;
  readonly bottleneck: Bottleneck.IORedisConnection;
  readonly #subscriber: Redis;

  constructor(redis: Redis) {
    this.client = redis.duplicate({
      lazyConnect: false,
      enableOfflineQueue: true,
      maxRetriesPerRequest: null,
      retryStrategy: (times: number) => Math.min(50 * 2 ** times, 1000),
    });
    repairScriptErrors(this.client);
    this.bottleneck = new Bottleneck.IORedisConnection({ client: this.client, Redis });
    this.#subscriber = (this.bottleneck as unknown as { subscriber: Redis }).subscriber;
    ignoreFailedUnsubscriptions(this.#subscriber);
    // The owner of `redis` reports outages; the copies would only repeat it.
    this.bottleneck.on("error", () => {});
  }

  /** Ends a limiter for good; its id may be opened again once this has resolved. */
  async release(limiter: Bottleneck): Promise<void> {
    await limiter.stop({ dropWaitingJobs: true }).catch(() => {});
    await limiter.disconnect(false);
    // Bottleneck does not wait for its unsubscription, which would hit the next limiter of the same id.
    await this.#subscriber.ping();
    await setImmediate();
  }

  async close(): Promise<void> {
    await this.bottleneck.disconnect(false);
  }
}

/** Bottleneck leaves their rejections unhandled, which would end the process when Redis is away. */
function ignoreFailedUnsubscriptions(subscriber: Redis): void {
  const unsubscribe = subscriber.unsubscribe.bind(subscriber) as (channel: string) => Promise<unknown>;
  const quietly = (channel: string) => unsubscribe(channel).catch(() => {});
  subscriber.unsubscribe = quietly as typeof subscriber.unsubscribe;
}

function repairScriptErrors(client: Redis): void {
  const scripts = client as unknown as Record<string, ScriptFunction>;
  const define = client.defineCommand.bind(client);
  client.defineCommand = (name, definition) => {
    define(name, definition);
    const run = scripts[name]!.bind(client);
    scripts[name] = (...args) => {
      const callback = args.pop() as ScriptCallback;
      return run(...args, (error: Error | null, reply: unknown) => callback(error && repaired(error), reply));
    };
  };
}

function repaired(error: Error): Error {
  const code = SCRIPT_ERROR.exec(error.message)?.[0];
  return code ? new Error(code, { cause: error }) : error;
}
