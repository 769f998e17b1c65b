import { channel } from "node:diagnostics_channel";
import type { BreakerReply } from "../store/breaker.ts";

/** A change of state. The process whose call caused it publishes it on the diagnostics channel `gluellm:breaker`. */
export interface BreakerTransition {
  key: string;
  /** `open` also follows `half_open` when the probe failed; `opened` tells the two apart. */
  state: "open" | "half_open" | "closed";
  /** Failures and calls of the window that opened it. */
  failures: number;
  calls: number;
  /** How often it went from closed to open. */
  opened: number;
}

const breakerChannel = channel("gluellm:breaker");

/** Tells this process's listeners of a change that one of its calls caused. */
export function publishTransition(
  key: string,
  state: BreakerTransition["state"],
  { failures, calls, opened }: BreakerReply,
): void {
  breakerChannel.publish({ key, state, failures, calls, opened } satisfies BreakerTransition);
}
