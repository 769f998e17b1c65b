import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { GlueLLM } from "../../src/index.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { redisAt } from "../support/redis-server.ts";
import type { TestSite } from "../support/site.ts";

const LOOK_MS = 50;
/** What a question is called, in its answer. In the question itself, which asks for it, the quotes are escaped. */
const NAMES = /[^\\]"(?:answer of ((?:row|cheap|served) \d+)|sum (\d+))/g;

/** Sees in Redis and in the files of batches what is recorded, and since when. */
export class Recorded {
  /** Epoch milliseconds at which a question was first seen with its answer; its record is older. */
  readonly seenAt = new Map<string, number>();
  /** When the key of a record was first seen. */
  readonly #keysSeenAt = new Map<string, number>();
  /** The keys of the records of steps, by what the steps asked. */
  readonly #steps = new Map<string, string>();
  readonly #site: TestSite;
  readonly #redis: ReturnType<typeof redisAt>;
  readonly #watching: Promise<void>;
  #isOver = false;

  constructor(site: TestSite, port: number) {
    this.#site = site;
    this.#redis = redisAt(`redis://127.0.0.1:${port}`);
    this.#watching = this.#watch();
  }

  /** Says which steps a run has: what they asked is not in their records. */
  async addRun(name: string, id: string, workflows: GlueLLM["workflows"]): Promise<void> {
    for (const { step, job = "", kind } of await workflows.open(id).steps()) {
      if (kind === "child") await this.addRun(`${name} child`, job, workflows);
      else this.#steps.set(`${name} ${step.replace("/", " ")}`, redisKeys(this.#site.namespace).result(job));
    }
  }

  /** Whether a tick of a schedule is under way. */
  async isTicking(): Promise<boolean> {
    return (await this.#redis.llen(`${redisKeys(this.#site.namespace).prefix}:schedules:active`)) > 0;
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#watching;
    await this.#look();
    for (const [name, key] of this.#steps) {
      const seen = this.#keysSeenAt.get(key);
      if (seen !== undefined) this.seenAt.set(name, seen);
    }
    this.#redis.disconnect();
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      // While Redis is away, the next look sees it.
      await this.#look().catch(() => {});
      await delay(LOOK_MS);
    }
  }

  async #look(): Promise<void> {
    const keys = await this.#redis.keys(redisKeys(this.#site.namespace).result("*"));
    const texts = keys.length > 0 ? await this.#redis.mget(keys) : [];
    const now = Date.now();
    for (const key of keys) if (!this.#keysSeenAt.has(key)) this.#keysSeenAt.set(key, now);
    // A row whose answer is in its file has a mark in place of a record.
    const entries = readdirSync(this.#site.folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    const all = [
      ...texts,
      ...files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), "utf8")),
    ];
    for (const [, row, sum] of all.join("\n").matchAll(NAMES)) {
      const name = row ?? `tools ${sum}`;
      if (!this.seenAt.has(name)) this.seenAt.set(name, Date.now());
    }
  }
}
