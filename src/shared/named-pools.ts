import type { ResourcePoolMetrics } from "./resource-pool-options.ts";

interface NamedPool {
  readonly name: string | undefined;
  readonly metrics: ResourcePoolMetrics;
}

/** Pools of this process that have a name and are not closed: what its metrics tell of. */
export const namedPools = new Set<NamedPool>();
