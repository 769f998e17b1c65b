import type { CompletionPayload } from "../shared/catalog.ts";
import { isObject, parseJson } from "../shared/json.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { isBlobRef } from "./blobs.ts";
import { toldText } from "./past-contents.ts";
import { clockOf } from "./redis-clock.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * How work ended, by the hour in which it did: a hash `:errors:<hour>` of what failed, and `:successes:<hour>` of what to
 * compare it with, in hours since the epoch. They are only ever added to, by the scripts that make an end final
 * (`COUNT_END`), and by `countFailure` for what leaves no record. Their fields, whose parts are divided by tabs:
 *
 * | field                                      | value                                                          |
 * |--------------------------------------------|----------------------------------------------------------------|
 * | `end code model queue tenant prompt`       | jobs and runs that ended so; the code of a success is empty    |
 * | `attempt code model queue tenant prompt`   | calls that failed, whatever became of their job                |
 * | `example code model tenant`                | the latest of them (JSON)                                      |
 * | `nanoUsd model`                            | what the jobs that ended cost                                  |
 *
 * A hash takes new fields up to a bound. Beyond it what has no field is counted under `*` in the place of its model, queue,
 * tenant and prompt, and then in that of its code, so that sums stay true.
 */

const HOUR_MS = 3_600_000;
/** Fields of an hour's hash; a tenth more are kept for what is counted under `*`. */
const MAX_FIELDS = 1000;
const MAX_PART_CHARS = 200;
/** In the place of what is not counted apart. */
const OTHERS = "*";

/** What an end is counted by. */
export interface EndPlace {
  /** `entry:model`; undefined where no model was to be called. */
  model: string | undefined;
  queue: string;
  tenant: string;
  /** `long`: over 16 KB. */
  prompt?: "short" | "long";
}

/** Returns where a job is counted. */
export function jobPlace(
  queue: string,
  model: string,
  { request, tenant = DEFAULT_TENANT }: Pick<CompletionPayload, "request" | "tenant">,
): EndPlace {
  return { model, queue, tenant, prompt: isBlobRef(request) ? "long" : "short" };
}

/** What operators may want to look at. */
export interface FailureExample {
  /** A job's, or a run's. */
  id: string;
  /** Epoch milliseconds. */
  at: number;
  /** Our own text, without the request. */
  message: string;
}

/** Keys of `COUNT_END` in a script. */
export const END_COUNT_KEYS = ["endCounts"] as const;
/** Arguments of `COUNT_END` in a script. */
export const END_COUNT_ARGS = {
  endCode: "text",
  endPlace: "text",
  endExample: "text",
  endTtlSeconds: "number",
} as const;

/** Returns the keys and arguments of `COUNT_END` for an end. @param failure undefined: it succeeded */
export function endCount(
  store: Store,
  place: EndPlace,
  { errorsMs }: { errorsMs: number },
  failure?: { code: string; example: Omit<FailureExample, "at"> },
) {
  const now = clockOf(store).now();
  const { model = "", queue, tenant, prompt = "" } = place;
  const example: FailureExample | undefined = failure && { ...failure.example, at: now };
  return {
    keys: { endCounts: hourKey(store.keys, failure ? "errors" : "successes", Math.floor(now / HOUR_MS)) },
    args: {
      endCode: failure ? part(failure.code) : "",
      endPlace: [model, queue, tenant, prompt].map(part).join("\t"),
      endExample: example
        ? JSON.stringify({ ...example, message: part(toldText(store, example.message)) })
        : "",
      endTtlSeconds: Math.ceil(errorsMs / 1000),
    },
  };
}

function part(text: string): string {
  return text.replace(/\s/g, " ").slice(0, MAX_PART_CHARS);
}

function hourKey(keys: RedisKeys, kind: "errors" | "successes", hour: number): string {
  return kind === "errors" ? keys.errorCounts(hour) : keys.successCounts(hour);
}

/**
 * Lua: `countEnd(kind, costUsd)` counts an end (`kind` 'end'), a failed call ('attempt'), or with `nil` only the cost, by the
 * script's locals of `END_COUNT_KEYS` and `END_COUNT_ARGS`. A hash that is damaged fails no script.
 */
export const COUNT_END = `
  local function grow(names, amount)
    for i, name in ipairs(names) do
      if redis.pcall('HINCRBY', endCounts, name, amount) ~= amount then return end
      -- The field is new.
      if i == #names or redis.call('HLEN', endCounts) <= ${MAX_FIELDS} * (1 + (i - 1) / 10) then
        redis.call('EXPIRE', endCounts, endTtlSeconds)
        return
      end
      redis.call('HDEL', endCounts, name)
    end
  end
  local function countEnd(kind, costUsd)
    local others = '${[OTHERS, OTHERS, OTHERS, OTHERS].join("\\t")}'
    if kind then
      local head = kind .. '\\t'
      grow({head .. endCode .. '\\t' .. endPlace, head .. endCode .. '\\t' .. others, head .. '${OTHERS}\\t' .. others}, 1)
    end
    local model, tenant = string.match(endPlace, '^([^\\t]*)\\t[^\\t]*\\t([^\\t]*)')
    if costUsd and costUsd > 0 then grow({'nanoUsd\\t' .. model, 'nanoUsd\\t${OTHERS}'}, math.floor(costUsd * 1e9 + 0.5)) end
    if endExample == '' then return end
    local example = table.concat({'example', endCode, model, tenant}, '\\t')
    if redis.pcall('HSET', endCounts, example, endExample) == 1 and redis.call('HLEN', endCounts) > ${MAX_FIELDS} then
      redis.call('HDEL', endCounts, example)
    end
  end
`;

/**
 * Counts what failed and leaves no record: a call whose job goes on, or a job that nobody can read.
 * Keys and arguments: those of `COUNT_END`, and the `kind`. Returns: nothing. Called by `countFailure`. Fence: none.
 */
const COUNT = new Script({
  keys: END_COUNT_KEYS,
  args: { ...END_COUNT_ARGS, kind: "text" },
  lua: `${COUNT_END} countEnd(kind)`,
});

/** Counts a failed call (`attempt`), or the end of what leaves no record. What fails here is counted nowhere. */
export async function countFailure(
  store: Store,
  kind: "attempt" | "end",
  place: EndPlace,
  retention: { errorsMs: number },
  failure: { code: string; example: Omit<FailureExample, "at"> },
): Promise<void> {
  const { keys, args } = endCount(store, place, retention, failure);
  await COUNT.run(store.redis, keys, { ...args, kind }).catch(() => {});
}

/** A count of an hour. */
export interface EndCount {
  /** Its beginning, in epoch milliseconds. */
  hour: number;
  kind: "end" | "attempt";
  /** Empty: succeeded. */
  code: string;
  /** Empty: none was to be called. */
  model: string;
  queue: string;
  tenant: string;
  prompt: string;
  count: number;
}

/** What some hours brought. */
export interface EndCounts {
  counts: EndCount[];
  /** The latest first. */
  examples: (FailureExample & { code: string; model: string; tenant: string })[];
  /** USD by the hour and the model, of jobs that ended. */
  spent: { hour: number; model: string; usd: number }[];
}

/** Hours asked for at a time. */
const CHUNK = 24;

/** Reads the counts from the hour of one time to that of another, in epoch milliseconds. */
export async function readEndCounts(store: Store, sinceMs: number, untilMs: number): Promise<EndCounts> {
  const hours: number[] = [];
  for (let hour = Math.floor(sinceMs / HOUR_MS); hour * HOUR_MS <= untilMs; hour++) hours.push(hour);
  const found: EndCounts = { counts: [], examples: [], spent: [] };
  for (let i = 0; i < hours.length; i += CHUNK) {
    const chunk = hours.slice(i, i + CHUNK);
    const pipeline = store.redis.pipeline();
    for (const hour of chunk) {
      for (const kind of ["errors", "successes"] as const) pipeline.hgetall(hourKey(store.keys, kind, hour));
    }
    for (const [n, reply] of (await pipeline.exec())?.entries() ?? []) {
      // A key of another type is damage of its hour alone.
      const hour = (chunk[Math.floor(n / 2)] ?? 0) * HOUR_MS;
      if (!reply[0]) addFields(found, hour, Object.entries(reply[1] as Record<string, string>));
    }
  }
  found.examples.sort((a, b) => b.at - a.at);
  return found;
}

function addFields(found: EndCounts, hour: number, fields: readonly [string, string][]): void {
  for (const [field, value] of fields) {
    const [kind, ...parts] = field.split("\t");
    const [code = "", model = "", queue = "", tenant = "", prompt = ""] = parts;
    if (kind === "end" || kind === "attempt") {
      found.counts.push({ hour, kind, code, model, queue, tenant, prompt, count: Number(value) });
    } else if (kind === "nanoUsd") {
      found.spent.push({ hour, model: code, usd: Number(value) / 1e9 });
    } else if (kind === "example") {
      const example = parseJson(value);
      if (!isObject(example)) continue;
      const { id, at, message } = example as Partial<FailureExample>;
      found.examples.push({
        ...{ code, model, tenant: queue },
        ...{ id: String(id), at: Number(at), message: String(message) },
      });
    }
  }
}
