import { namedPools } from "../shared/named-pools.ts";
import type { ProcessReading } from "./metrics.ts";

/** Returns what metrics read off the process's pools of resources. */
export function poolReadings(): ProcessReading[] {
  return [...namedPools].flatMap(({ name: pool = "", metrics }) => {
    const { size, inUse, waiting, created, destroyed, failedChecks, failedCreates } = metrics;
    const states = { in_use: inUse, idle: size - inUse, waiting };
    const events = { created, destroyed, failed_check: failedChecks, failed_create: failedCreates };
    return [
      ...Object.entries(states).map(([state, value]) => ({
        name: "gluellm_resource_pool" as const,
        labels: { pool, state },
        value,
      })),
      ...Object.entries(events).map(([event, value]) => ({
        name: "gluellm_resource_pool_events" as const,
        labels: { pool, event },
        value,
      })),
    ];
  });
}
