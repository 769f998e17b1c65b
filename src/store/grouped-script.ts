import type { Redis } from "ioredis";
import { type ArgumentKind, type Arguments, Script, type ScriptDefinition } from "./script.ts";

/** More would hold up Redis for too long. */
const MAX_GROUP = 50;

interface Call<K extends string, A extends Record<string, ArgumentKind>> {
  keys: Record<K, string>;
  args: Arguments<A>;
  resolve(reply: unknown): void;
}

/**
 * A script whose calls of one turn of the event loop go to Redis together, in one round trip: what many jobs of a process
 * ask or write at the same time costs hardly more than what one does. Each call has its own reply or error.
 */
export class GroupedScript<K extends string, const A extends Record<string, ArgumentKind>> {
  readonly #one: Script<K, A>;
  readonly #many: Script<never>;
  readonly #waiting = new WeakMap<Redis, Call<K, A>[]>();

  /** @param definition without further keys or arguments; every call can be made again without harm */
  constructor(definition: Omit<ScriptDefinition<K, A>, "moreKeys" | "moreArgs">) {
    this.#one = new Script(definition);
    const sizes = [definition.keys.length, Object.keys(definition.args ?? {}).length];
    this.#many = new Script({
      keys: [],
      moreKeys: "allKeys",
      moreArgs: "allArgs",
      lua: `
        local function one(KEYS, ARGV)
          ${this.#one.source}
        end
        local function part(list, n, size) return {unpack(list, n * size + 1, (n + 1) * size)} end
        local replies = {}
        for n = 0, #allKeys / ${sizes[0]} - 1 do
          replies[n + 1] = one(part(allKeys, n, ${sizes[0]}), part(allArgs, n, ${sizes[1]})) or false
        end
        return replies
      `,
    });
  }

  /** Returns the script's reply. */
  run(redis: Redis, keys: Record<K, string>, args: Arguments<A>): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const call = { keys, args, resolve };
    const waiting = this.#waiting.get(redis);
    if (waiting) waiting.push(call);
    else {
      const calls = [call];
      this.#waiting.set(redis, calls);
      // After all answers that have arrived by now, of Redis and of providers, were looked at.
      setImmediate(() => {
        this.#waiting.delete(redis);
        for (let n = 0; n < calls.length; n += MAX_GROUP)
          void this.#send(redis, calls.slice(n, n + MAX_GROUP));
      });
    }
    return promise;
  }

  async #send(redis: Redis, calls: Call<K, A>[]): Promise<void> {
    const alone = () => {
      for (const { keys, args, resolve } of calls) resolve(this.#one.run(redis, keys, args));
    };
    if (calls.length === 1) return alone();
    try {
      const all = {
        keys: calls.flatMap(({ keys }) => this.#one.keyList(keys)),
        args: calls.flatMap(({ args }) => this.#one.argList(args)),
      };
      const replies = (await this.#many.run(redis, {}, {}, all)) as unknown[];
      for (const [n, { resolve }] of calls.entries()) resolve(replies[n]);
    } catch {
      // What is wrong with one of them must not become the error of the others.
      alone();
    }
  }
}
