import type { Logger } from "../shared/logger.ts";
import { within } from "../shared/within.ts";
import type { Execution } from "./execution.ts";

/** How long a cancelled run's function has to end, its `finally` blocks included. */
const FUNCTION_MS = 10_000;
const HANDLER_MS = 10_000;

export interface CancelHandler {
  handle: () => unknown;
  timeoutMs?: number | undefined;
}

/**
 * Lets a cancelled run clean up: its steps are rejected, so that `catch` and `finally` blocks run, then its handlers, the
 * last one first.
 */
export async function cleanUp(
  execution: Execution,
  handlers: readonly CancelHandler[],
  logger: Pick<Logger, "warn">,
): Promise<void> {
  execution.rejectAll();
  await within(FUNCTION_MS, execution.ended);
  for (const { handle, timeoutMs = HANDLER_MS } of handlers.toReversed()) {
    const handled = Promise.resolve().then(handle);
    // Nobody waits for the run any more: what fails here can only be told to operators.
    handled.catch((error: unknown) =>
      logger.warn({ err: error as Error }, "a run's onCancel handler failed"),
    );
    await within(timeoutMs, handled);
  }
}
