import { readDeadline } from "../../shared/deadline.ts";
import { LANES, type LaneOptions } from "./lane-plan.ts";

/** The name in a batch's metadata of the time by which it should be done. */
export const BY = "gluellm_by";

/**
 * Returns how a batch of the API may be bought, as its metadata say; undefined: online, at once.
 */
export function askedLanes(
  metadata: Readonly<Record<string, string>> | undefined,
  { createdAt, expiresAt }: { createdAt: number; expiresAt: number },
): LaneOptions | undefined {
  const by = metadata?.[BY];
  if (by === undefined) return undefined;
  return { byMs: Math.min(readDeadline(by, createdAt), expiresAt), lanes: LANES };
}
