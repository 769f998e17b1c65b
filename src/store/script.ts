import { createHash } from "node:crypto";
import type { Redis } from "ioredis";

/** Lua: `now` is the time by the clock of Redis, in epoch milliseconds. */
export const NOW = `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** What Lua sees of an argument: text, a number, a number that may be `nil`, or a boolean. */
export type ArgumentKind = keyof ArgumentTypes;
interface ArgumentTypes {
  text: string;
  number: number;
  "number?": number | undefined;
  flag: boolean;
}

const IN_LUA: Record<ArgumentKind, (value: string) => string> = {
  text: (value) => value,
  number: (value) => `tonumber(${value})`,
  "number?": (value) => `tonumber(${value})`,
  flag: (value) => `${value} == 'true'`,
};

export type Arguments<A extends Record<string, ArgumentKind>> = { [Name in keyof A]: ArgumentTypes[A[Name]] };

export interface ScriptDefinition<K extends string, A extends Record<string, ArgumentKind>> {
  /** Names of the Lua locals that hold the keys. */
  keys: readonly K[];
  /** Names and kinds of the Lua locals that hold the arguments; none when absent. */
  args?: A;
  /** Name of the Lua table that holds any further keys. */
  moreKeys?: string;
  /** Name of the Lua table that holds any further arguments, as text. */
  moreArgs?: string;
  lua: string;
}

/** A Lua script with named keys and arguments, sent once per server and called by its digest afterwards. */
export class Script<K extends string, const A extends Record<string, ArgumentKind> = Record<never, never>> {
  readonly #keys: readonly K[];
  readonly #args: readonly string[];
  /** What it does with `KEYS` and `ARGV`. */
  readonly source: string;
  readonly #sha1: string;

  constructor({ keys, args, moreKeys, moreArgs, lua }: ScriptDefinition<K, A>) {
    const kinds = Object.entries<ArgumentKind>(args ?? {});
    this.#keys = keys;
    this.#args = kinds.map(([name]) => name);
    const locals = [
      ...keys.map((name, i) => `local ${name} = KEYS[${i + 1}]`),
      ...kinds.map(([name, kind], i) => `local ${name} = ${IN_LUA[kind](`ARGV[${i + 1}]`)}`),
      ...(moreKeys ? [rest(moreKeys, "KEYS", keys.length)] : []),
      ...(moreArgs ? [rest(moreArgs, "ARGV", kinds.length)] : []),
    ];
    this.source = `${locals.join("\n")}\n${lua}`;
    this.#sha1 = createHash("sha1").update(this.source).digest("hex");
  }

  /** Returns the script's reply. `moreKeys` and `moreArgs` fill the tables of those names. */
  async run(
    redis: Redis,
    keys: Record<K, string>,
    args: Arguments<A>,
    more: { keys?: readonly string[]; args?: readonly (string | number)[] } = {},
  ): Promise<unknown> {
    const allKeys = [...this.keyList(keys), ...(more.keys ?? [])];
    const allArgs = [...this.argList(args), ...(more.args ?? [])];
    try {
      return await redis.evalsha(this.#sha1, allKeys.length, ...allKeys, ...allArgs);
    } catch (error) {
      // A restarted Redis has forgotten its scripts.
      if (!(error instanceof Error) || !error.message.includes("NOSCRIPT")) throw error;
      return redis.eval(this.source, allKeys.length, ...allKeys, ...allArgs);
    }
  }

  /** Returns the keys in the order of `KEYS`. */
  keyList(keys: Record<K, string>): string[] {
    return this.#keys.map((name) => keys[name]);
  }

  /** Returns the arguments in the order of `ARGV`. */
  argList(args: Arguments<A>): string[] {
    const named: Record<string, string | number | boolean | undefined> = args;
    return this.#args.map((name) => String(named[name] ?? ""));
  }
}

function rest(name: string, from: "KEYS" | "ARGV", named: number): string {
  return `local ${name} = {}\nfor i = ${named + 1}, #${from} do ${name}[i - ${named}] = ${from}[i] end`;
}
