import type { z } from "zod";
import { byName } from "../shared/by-name.ts";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { checkDuration, checkRetry, type RetryPolicy } from "./retry-policy.ts";

/** The mark of activities, known across copies of this package: a worker and a module may have one each. */
const ACTIVITY = Symbol.for("gluellm.activity");

/** What an activity's function gets beside its input. */
export interface ActivityContext {
  /** The run that asked for it, and the step that it is there. */
  readonly runId: string;
  readonly step: string;
  /** The number of this try, from 1: after failed tries, tries without heartbeats and lost workers. */
  readonly attempt: number;
  /** Aborts when the run or the step is cancelled, at a timeout, and when the worker stops or has lost the activity. */
  readonly signal: AbortSignal;
  /** What the last heartbeat of the try before brought; undefined in the first one. */
  readonly details: unknown;
  /**
   * Says that the work goes on, and how far it is: the next try gets the details of the last call. It may be called often; what it returns
   * resolves once the details are safe in Redis, and never rejects.
   * @throws InputError for details that cannot be kept (`not_serializable`), or are larger than 64 KB as JSON (`too_large`)
   */
  readonly heartbeat: (details?: unknown) => Promise<void>;
  readonly log: Pick<Logger, "debug" | "info" | "warn" | "error">;
}

/** The parts of an activity. */
export interface ActivityOptions<Input, Output, Given = Input> {
  /** The name: letters, digits, `_`, `-` and `.`; unique among the activities of a namespace. */
  name: string;
  /** The schema of the input; its defaults and transforms shape what the function gets. */
  input: z.ZodType<Input, Given>;
  /** The schema of the output, checked when the function has returned. */
  output: z.ZodType<Output>;
  /** The function: any code. It is done at least once, and its result is recorded once. */
  run: (input: Input, context: ActivityContext) => Output | Promise<Output>;
  /** The tries; default: one. Failed ones are counted over all workers. A `NonRetryableError` ends them. */
  retry?: RetryPolicy;
  /** The longest time of each try, in milliseconds; default: none. Then the try has failed (`step_timeout`). */
  timeoutMs?: number;
  /**
   * The longest time between two heartbeats of a try, in milliseconds; default: none is expected. After it, the activity is given to
   * another worker; after three such tries, or as many as `retry` allows, it has failed (`heartbeat_timeout`). A
   * worker that is lost is noticed as soon too, but not below 2 s.
   */
  heartbeatMs?: number;
}

/** Local code that any worker with it may do for a run; `defineActivity` makes one. */
export interface Activity<Input = unknown, Output = unknown, Given = Input>
  extends ActivityOptions<Input, Output, Given> {
  readonly retry: Required<RetryPolicy>;
}

/** An activity of any types, as workers hold them. */
// biome-ignore lint/suspicious/noExplicitAny: a function's parameter accepts its own type only.
export type AnyActivity = Activity<any, any, any>;

/**
 * Returns an activity, for `ctx.activity`.
 *
 * ```ts
 * const resize = defineActivity({
 *   name: "resize",
 *   input: z.object({ url: z.string(), width: z.number() }),
 *   output: z.string(),
 *   heartbeatMs: 10_000,
 *   run: async ({ url, width }, { signal, heartbeat }) => { … },
 * });
 * ```
 * @throws ConfigurationError for a name, tries or times that cannot be
 */
export function defineActivity<Input, Output, Given = Input>(
  options: ActivityOptions<Input, Output, Given>,
): Activity<Input, Output, Given> {
  const { name, timeoutMs, heartbeatMs } = options;
  if (!/^[\w.-]{1,100}$/.test(name)) {
    throw new ConfigurationError(`"${name}" cannot name an activity`, "use letters, digits, _, - and .");
  }
  try {
    if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs, 1);
    if (heartbeatMs !== undefined) checkDuration("heartbeatMs", heartbeatMs, 1);
    return Object.freeze({ [ACTIVITY]: true, ...options, retry: checkRetry(options.retry) });
  } catch (error) {
    throw new ConfigurationError(`activity "${name}": ${(error as Error).message}`);
  }
}

export function isActivity(value: unknown): value is AnyActivity {
  return typeof value === "object" && value !== null && ACTIVITY in value;
}

/** Returns activities by their names. @throws InputError (`duplicate_activity`) when two of them share a name. */
export function activitiesByName(activities: Iterable<AnyActivity>): Map<string, AnyActivity> {
  const duplicate = ({ name }: AnyActivity) =>
    new InputError(
      `two activities are called "${name}"`,
      "give one of them another name",
      "duplicate_activity",
    );
  return byName(activities, ({ name }) => name, duplicate);
}
