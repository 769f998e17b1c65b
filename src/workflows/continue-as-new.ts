import { randomUUID } from "node:crypto";
import { encode } from "../shared/serialize.ts";
import { clockOf } from "../store/redis-clock.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { continueRun } from "../store/run-chain.ts";
import { renewRunParts } from "../store/run-parts.ts";
import {
  type ChainLink,
  DEFAULT_DEADLINE_MS,
  inlineOrRunBlob,
  isBounded,
  type RunRecord,
} from "../store/run-record.ts";
import type { Denied, RunLock } from "../store/run-turn.ts";
import { cancelSteps } from "./end-run.ts";
import type { Execution } from "./execution.ts";
import type { FleetAccess } from "./fleet-access.ts";

/** The parts of a chain that its record tells of. */
const MAX_LINKS = 100;

/** Begins the names of a part's steps, so that nothing of an earlier part is taken for its own; none in the first one. */
export function scopeOf({ continued }: Pick<RunRecord, "continued">): string {
  return continued === 0 ? "" : `#${continued}/`;
}

/**
 * Begins the run's next part with `input`, by the code of this worker. What the present part has under way ends first, as at the end of
 * a run: so it is done again when this worker is lost in between.
 */
export async function goOnAsNew(
  fleet: FleetAccess,
  lock: RunLock,
  run: RunRecord,
  { execution, input, version }: { execution: Execution; input: unknown; version: number },
): Promise<"continued" | Denied> {
  const { store, logger } = fleet;
  await cancelSteps(
    fleet,
    execution.pending().flatMap(({ asked }) => asked ?? []),
  );
  const now = await clockOf(store).fresh();
  const deadlineAt = isBounded(run) ? run.deadlineAt : now + DEFAULT_DEADLINE_MS;
  const startedAt = run.continuedAt ?? run.createdAt;
  const link: ChainLink = { startedAt, finishedAt: now, version: run.version };
  const encoded = encode(input ?? null, `the input of workflow "${run.workflow}"`, { dropsUndefined: true });
  const stored = await untilTaken(logger, () => inlineOrRunBlob(store, run.id, encoded.json, deadlineAt));
  const { unread } = execution;
  await renewRunParts(store, unread, deadlineAt);
  return continueRun(lock, {
    seen: execution.seen,
    workflow: run.workflow,
    now,
    deadlineAt,
    unread,
    fields: {
      input: JSON.stringify(stored),
      ...(encoded.isTyped && { inputTyped: "true" }),
      version,
      seed: randomUUID(),
      continuedAt: now,
      chain: JSON.stringify([...run.chain, link].slice(-MAX_LINKS)),
      carried: JSON.stringify(execution.totals),
      ...execution.totals,
    },
  });
}
