import { sha256 } from "../shared/digest.ts";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import type { StartLimits } from "../store/run-limits.ts";
import { MAX_DEADLINE_MS } from "../store/run-record.ts";

/**
 * What a limit counts by: a path in the input (`customer.id`), or a function of it. Runs whose key is the same share the
 * limit. Default: all runs of the workflow do.
 */
export type LimitKey<Input> = string | ((input: Input) => string | number | boolean);

/** The limits of a workflow's runs. */
export interface WorkflowLimits<Input> {
  /**
   * At most so many runs of a key go on at a time, from their begin to their end, also while they sleep. Others wait for a place, without
   * a slot of a worker, by priority and time.
   */
  concurrency?: { limit: number; key?: LimitKey<Input> };
  /** At most so many runs of a key begin within any `periodMs`. Others begin later, in the order of their starts. */
  throttle?: { limit: number; periodMs: number; key?: LimitKey<Input> };
  /**
   * A run begins when no other of its key was started for `periodMs`. Until then each further start stands for that run, and its input
   * takes the place of the one before. Not together with `throttle`. Of callers' starts only: no child runs, no forks.
   */
  debounce?: { periodMs: number; key?: LimitKey<Input> };
  /**
   * One run of a key at a time: another start stands for the run that goes on, whatever its input, or with `onConflict: "refuse"`
   * throws (`singleton_running`). Default: false. Of callers' starts only: no child runs, no forks.
   */
  singleton?: boolean | { key?: LimitKey<Input>; onConflict?: "join" | "refuse" };
}

type Kind = "concurrency" | "throttle" | "debounce" | "singleton";
type Keyed = { key?: LimitKey<never> };

/** Longer keys count by their digest. */
const MAX_KEY_CHARS = 200;
const FIELDS: Readonly<Record<Kind, readonly string[]>> = {
  concurrency: ["limit", "key"],
  throttle: ["limit", "periodMs", "key"],
  debounce: ["periodMs", "key"],
  singleton: ["key", "onConflict"],
};

/** @throws ConfigurationError for limits that cannot be */
export function checkLimits(workflow: string, limits: WorkflowLimits<never>): void {
  for (const kind of ["concurrency", "throttle", "debounce", "singleton"] as const) {
    const limit: unknown = limits[kind];
    if (limit === undefined || (kind === "singleton" && typeof limit === "boolean")) continue;
    checkLimit(`${kind} of workflow "${workflow}"`, kind, limit);
  }
  if (limits.debounce && limits.throttle) {
    throw new ConfigurationError(
      `workflow "${workflow}" has both debounce and throttle`,
      "give it one of them",
    );
  }
}

function checkLimit(what: string, kind: Kind, given: unknown): void {
  const fields = FIELDS[kind];
  if (typeof given !== "object" || given === null) {
    throw new ConfigurationError(`${what} must be an object of ${fields.join(", ")}, not ${String(given)}`);
  }
  const limit = given as Record<string, unknown>;
  const unknown = Object.keys(limit).find((field) => !fields.includes(field));
  if (unknown !== undefined) {
    throw new ConfigurationError(
      `${what} has an unknown field "${unknown}"`,
      `it takes ${fields.join(", ")}`,
    );
  }
  if (fields.includes("limit")) checkWhole(`${what}: limit`, limit.limit, 1_000_000);
  if (fields.includes("periodMs")) checkWhole(`${what}: periodMs`, limit.periodMs, MAX_DEADLINE_MS - 1);
  const { key, onConflict = "join" } = limit;
  if (key !== undefined && typeof key !== "function" && (typeof key !== "string" || key === "")) {
    throw new ConfigurationError(`${what}: key must be a function of the input or a path in it`);
  }
  if (onConflict !== "join" && onConflict !== "refuse") {
    throw new ConfigurationError(`${what}: onConflict must be "join" or "refuse", not ${String(onConflict)}`);
  }
}

function checkWhole(what: string, value: unknown, max: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= max) return;
  throw new ConfigurationError(`${what} must be a whole number from 1 to ${max}, not ${String(value)}`);
}

type Limited<Input> = WorkflowLimits<Input> & { name: string };

/**
 * Returns how a run is to begin. @param input as its schema made it
 * @throws InputError (`limit_key`) when a key function throws, or a key is no text, number or boolean
 */
export function startLimits<Input>(workflow: Limited<Input>, input: Input): StartLimits {
  const { throttle, debounce, singleton = false } = workflow;
  // Its name is the worker's to find: here it is only looked whether there is one.
  concurrencyPlace(workflow, input);
  const one = singleton === true ? {} : singleton;
  return {
    ...(throttle && { throttle: { name: nameOf("throttle", workflow, throttle, input), ...throttle } }),
    ...(debounce && { debounce: { name: nameOf("debounce", workflow, debounce, input), ...debounce } }),
    ...(one && {
      singleton: { name: nameOf("singleton", workflow, one, input), refuses: one.onConflict === "refuse" },
    }),
  };
}

/** Returns the limit that a run needs a place of; undefined when it needs none. @throws as `startLimits` */
export function concurrencyPlace<Input>(
  workflow: Limited<Input>,
  input: Input,
): { name: string; limit: number } | undefined {
  const { concurrency } = workflow;
  if (!concurrency) return undefined;
  return { name: nameOf("concurrency", workflow, concurrency, input), limit: concurrency.limit };
}

function nameOf<Input>(kind: Kind, { name }: Limited<Input>, { key }: Keyed, input: Input): string {
  return `${kind}:${name}:${key === undefined ? "" : keyText(`the key of ${kind} of workflow "${name}"`, key, input)}`;
}

function keyText<Input>(what: string, key: LimitKey<never>, input: Input): string {
  let value: unknown;
  try {
    value = typeof key === "function" ? key(input as never) : valueAt(input, key);
  } catch (error) {
    throw new InputError(
      `${what} threw: ${error instanceof Error ? error.message : String(error)}`,
      "it gets the checked input of a run: let it return a text for each input that the schema takes",
      "limit_key",
    );
  }
  // It may still fail, and nobody waits for it.
  if (value instanceof Promise) value.catch(() => {});
  const isNumber = typeof value === "number" && Number.isFinite(value);
  if (typeof value !== "string" && typeof value !== "boolean" && !isNumber) {
    const found = value instanceof Promise ? "a promise" : value === null ? "null" : typeof value;
    throw new InputError(`${what} must be a text, number or boolean, not ${found}`, undefined, "limit_key");
  }
  const text = `${value as string}`;
  return text.length <= MAX_KEY_CHARS ? text : sha256(text);
}

function valueAt(input: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((value, field) => {
    const isOwn = typeof value === "object" && value !== null && Object.hasOwn(value, field);
    return isOwn ? (value as Record<string, unknown>)[field] : undefined;
  }, input);
}

/** Returns a workflow's limits, for people. */
export function limitTexts({ concurrency, throttle, debounce, singleton }: WorkflowLimits<never>): string[] {
  const per = ({ key }: Keyed) =>
    key === undefined ? "" : ` per ${typeof key === "string" ? key : "key of its input"}`;
  return [
    ...(concurrency ? [`${concurrency.limit} at a time${per(concurrency)}`] : []),
    ...(throttle ? [`${throttle.limit} begin within ${throttle.periodMs} ms${per(throttle)}`] : []),
    ...(debounce ? [`the last one after ${debounce.periodMs} ms of quiet${per(debounce)}`] : []),
    ...(singleton ? [`one run${per(singleton === true ? {} : singleton)}`] : []),
  ];
}
