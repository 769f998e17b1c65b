import { modelRef } from "../../shared/model-name.ts";
import type { LaneStatus } from "../../shared/records.ts";
import type { LaneBuy } from "../../store/lane-buy.ts";
import type { OnUnknown } from "./lane-plan.ts";

interface UnknownRows {
  onUnknown: OnUnknown;
  /** Epoch milliseconds at which the rows left go online; undefined: no deadline, so at once. */
  onlineAtMs: number | undefined;
  /** Whether a host of the API runs the batch, which nobody can ask to buy such rows. */
  isHosted: boolean;
}

/** Returns where a provider batch stands, for people. */
export function laneStatus(buy: LaneBuy, unknownRows: UnknownRows): LaneStatus {
  const { entry, model, batchId, state, requests, seen, unknownSince } = buy;
  const about = {
    model: modelRef(entry, model).key,
    ...(batchId !== undefined && { id: batchId }),
    ...{ rows: requests, done: seen?.done ?? 0 },
  };
  if (unknownSince === undefined)
    return { ...about, state: state === "created" ? (seen?.state ?? "in_progress") : state };
  return { ...about, state: "unknown", reason: `${causeOf(buy)}; ${remedyFor(unknownRows)}` };
}

function causeOf({ entry, state }: LaneBuy): string {
  return state === "created"
    ? `${entry} does not know it with the key that is set, which may be another account's`
    : `nobody can tell yet whether ${entry} has made it`;
}

function remedyFor({ onUnknown, onlineAtMs, isHosted }: UnknownRows): string {
  if (onUnknown === "buy") {
    const isLater = onlineAtMs !== undefined && onlineAtMs > Date.now() && Number.isFinite(onlineAtMs);
    const when = isLater ? `at ${new Date(onlineAtMs).toISOString()}` : "soon";
    return `its rows are bought online ${when}, perhaps twice, unless it is found before`;
  }
  const waits = "its rows wait until that can be told, also beyond the deadline";
  return isHosted
    ? waits
    : `${waits}; --on-unknown buy (onUnknown: "buy") of the next run buys them online, perhaps twice`;
}
