import { setTimeout as delay } from "node:timers/promises";
import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";

/** Its memory or disk is full, it became a replica or is loading, another one has taken over, a script blocks it: all of them pass. */
const REFUSALS = /\b(OOM|MISCONF|READONLY|LOADING|BUSY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|MOVED)\b/;
const WAIT_MS = 250;

/** True when Redis answered that it cannot take a write now, though it may later. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || error.name !== "ReplyError") return false;
  // A transaction only says that it was discarded; the commands in it say why.
  const { previousErrors = [] } = error as Error & { previousErrors?: Error[] };
  return [error, ...previousErrors].some(({ message }) => REFUSALS.test(message));
}

/**
 * Repeats `action` until Redis takes it: what it writes is paid for, or would have to be begun again. A lost
 * connection needs no such care, since commands wait for it.
 * @param signal once it aborts, nobody waits any more
 * @throws what `action` throws; Redis' refusal after the signal
 */
export async function untilTaken<T>(
  logger: Logger,
  action: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let refused = false; ; refused = true) {
    try {
      return await action();
    } catch (error) {
      if (!isRefusal(error) || signal?.aborted) throw error;
      const { message } = error as Error;
      if (!refused) logFault(logger, message, { hint: hintOf(message) }, "Redis refuses writes; waiting");
      await delay(WAIT_MS);
    }
  }
}

function hintOf(fault: string): string {
  if (/MISCONF/.test(fault)) return "make room on the disk that Redis writes to; all goes on by itself then";
  if (/OOM/.test(fault))
    return "raise Redis' maxmemory, or remove what else it holds; all goes on by itself then";
  return "it may pass; see the log of Redis and its INFO";
}
