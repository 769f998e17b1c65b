import { createContext, Script } from "node:vm";

const context = createContext({ work: undefined as (() => unknown) | undefined });
const call = new Script("work()");

/**
 * Runs `work` here and now, for at most `timeoutMs`: a regular expression that backtracks without end would otherwise
 * stop the whole process, and its jobs would lose their locks.
 * @returns undefined when the time ran out: `work` then ended at any point.
 */
export function interruptible<T>(timeoutMs: number, work: () => T): { value: T } | undefined {
  context.work = work;
  try {
    return { value: call.runInContext(context, { timeout: timeoutMs }) as T };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return undefined;
    throw error;
  } finally {
    context.work = undefined;
  }
}
