import { setTimeout as delay } from "node:timers/promises";
import { temporaryFolder } from "../support/redis-folders.ts";
import { freePort, type RedisServer, redisAt, startRedisServer } from "../support/redis-server.ts";
import { mountDisk, type SmallDisk } from "../support/small-disk.ts";

/** More than a round writes. */
export const DISK_SIZE = "200m";

/** A Redis that forgets nothing that it has confirmed, whatever befalls it. */
export class StruckRedis implements AsyncDisposable {
  readonly port: number;
  readonly #folder = temporaryFolder();
  readonly #disk: SmallDisk | undefined = mountDisk(this.#folder, DISK_SIZE);
  #child: RedisServer["child"] | undefined;

  private constructor(port: number) {
    this.port = port;
  }

  static async start(): Promise<StruckRedis> {
    const redis = new StruckRedis(await freePort());
    await redis.#start();
    return redis;
  }

  async #start(): Promise<void> {
    const settings = { port: String(this.port), dir: this.#folder, appendonly: "yes", appendfsync: "always" };
    ({ child: this.#child } = await startRedisServer(settings));
  }

  async kill(awayMs: number): Promise<void> {
    this.#child?.kill("SIGKILL");
    await delay(awayMs);
    await this.#start();
  }

  async freeze(forMs: number): Promise<void> {
    this.#child?.kill("SIGSTOP");
    await delay(forMs);
    this.#child?.kill("SIGCONT");
  }

  /** Cuts the connections of all clients. */
  cut(): Promise<void> {
    return this.#ask(async (redis) => {
      for (const type of ["normal", "pubsub"])
        await redis.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
    });
  }

  /** Its memory is full: it refuses what would need more. */
  fillMemory(forMs: number): Promise<void> {
    return this.#ask(async (redis) => {
      await redis.config("SET", "maxmemory", "1");
      await delay(forMs);
      await redis.config("SET", "maxmemory", "0");
    });
  }

  get hasDisk(): boolean {
    return this.#disk !== undefined;
  }

  /** Its disk is full: it ends at the next write. When it syncs its log by the second, it refuses all writes instead. */
  async fillDisk(forMs: number, isSyncedBySecond: boolean): Promise<void> {
    if (isSyncedBySecond) await this.#ask((redis) => redis.config("SET", "appendfsync", "everysec"));
    this.#disk?.fill();
    await delay(forMs);
    this.#disk?.resize(DISK_SIZE);
    if (this.#child?.exitCode !== null) await this.#start();
    else await this.#ask((redis) => redis.config("SET", "appendfsync", "always"));
  }

  async #ask(what: (redis: ReturnType<typeof redisAt>) => Promise<unknown>): Promise<void> {
    const redis = redisAt(`redis://127.0.0.1:${this.port}`);
    await what(redis);
    redis.disconnect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child?.kill("SIGKILL");
    this.#disk?.[Symbol.dispose]();
  }
}
