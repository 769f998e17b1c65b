import { GlueError } from "../shared/errors.ts";
import { type LogFields, withLogContext } from "../shared/log-context.ts";
import type { Logger } from "../shared/logger.ts";
import { getLogger } from "./logging.ts";

/** Options of what is logged of work. */
export interface LogOptions {
  /** Default: that of `getLogger()`. */
  logger?: Logger;
  /** The level of lines of work that went well; what failed is an error. Default `debug`. */
  level?: "trace" | "debug" | "info";
}

/** Options of `logFunctionCall`. */
export interface LogFunctionOptions extends LogOptions {
  /** Default: the function's own name. */
  name?: string;
}

/**
 * Returns the function with a line in the log when it begins, ends and fails, with its time. Arguments and results are not logged: they may
 * be what people said. It stays as it was otherwise, with its `this`, its promise and its errors.
 */
export function logFunctionCall<This, Args extends unknown[], T>(
  fn: (this: This, ...args: Args) => T,
  { name = fn.name || "anonymous", ...options }: LogFunctionOptions = {},
): (this: This, ...args: Args) => T {
  return function (this: This, ...args: Args): T {
    const { logger = getLogger(), level = "debug" } = options;
    logger[level]({ function: name, argumentCount: args.length }, "function begins");
    return timed(() => fn.apply(this, args), { function: name }, "function", { logger, level });
  };
}

/** Does work and logs how long it took, and whether it failed; returns what it brought. Default level `debug`. */
export function logTiming<T>(name: string, work: () => T, options: LogOptions = {}): T {
  return timed(work, { timing: name }, "timing", { ...options });
}

/**
 * Does an operation and logs its begin and its end, or that it failed, with its time; returns what it brought. The operation's name and
 * fields are on every line that is logged inside of it. Default level `info`.
 *
 * ```ts
 * await logOperation("import", { orderId }, () => importOrder(orderId));
 * ```
 */
export function logOperation<T>(name: string, fields: LogFields, work: () => T, options: LogOptions = {}): T {
  const { logger = getLogger(), level = "info" } = options;
  return withLogContext({ ...fields, operation: name }, () => {
    logger[level]("operation begins");
    return timed(work, {}, "operation", { logger, level });
  });
}

function timed<T>(
  work: () => T,
  fields: object,
  what: string,
  { logger = getLogger(), level = "debug" }: LogOptions,
): T {
  const startedAt = performance.now();
  const durationMs = () => Math.round((performance.now() - startedAt) * 10) / 10;
  const ended = () => logger[level]({ ...fields, durationMs: durationMs() }, `${what} ended`);
  const failed = (error: unknown) =>
    // Another error's text may quote anything.
    logger.error({ ...fields, durationMs: durationMs(), fault: faultOf(error) }, `${what} failed`);
  let result: T;
  try {
    result = work();
  } catch (error) {
    failed(error);
    throw error;
  }
  if (!isPromise(result)) {
    ended();
    return result;
  }
  return result.then(
    (value) => {
      ended();
      return value;
    },
    (error: unknown) => {
      failed(error);
      throw error;
    },
  ) as T;
}

function faultOf(error: unknown): string {
  if (error instanceof GlueError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.name : typeof error;
}

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise;
}
