import type { BatchPlanChange } from "../../src/simulator/batches/plan.ts";
import type { ConnectedStore } from "../../src/store/connected-store.ts";
import { testStore } from "./redis.ts";
import { CLAUDE_MODEL, MODEL, TestSite } from "./site.ts";

/** Of processes for which hours of provider batches are seconds. */
export const LANE_ENV = {
  GLUELLM_LANE_POLL_MS: "50",
  GLUELLM_LANE_RESERVE_MS: "1000",
  // So that what the rows take online is next to nothing.
  GLUELLM_LIMITS: JSON.stringify({ [MODEL]: { rpm: 100_000 }, [CLAUDE_MODEL]: { rpm: 100_000 } }),
};

/** A site whose hours of provider batches are seconds, which the plan knows from what it has seen. */
export async function laneSite(
  plan: BatchPlanChange = {},
  env: Record<string, string> = {},
): Promise<{ site: TestSite; store: ConnectedStore }> {
  const site = await TestSite.open({ batchSpeed: 1000 }, { ...LANE_ENV, ...env });
  const store = testStore(site.namespace);
  const seen = JSON.stringify(Array.from({ length: 50 }, () => 300));
  for (const model of [MODEL, CLAUDE_MODEL]) await store.redis.hset(store.keys.laneDurations, model, seen);
  site.simulator.setBatches({ durationMs: 200_000, ...plan });
  return { site, store };
}
