import { z } from "zod";
import { batchPlanSchema } from "./batches/plan.ts";
import { CHARGE_POLICIES } from "./charge.ts";
import { readFaults } from "./faults.ts";
import { limitChangeSchema } from "./limits.ts";
import { outageChangeSchema } from "./outage.ts";
import { resetSimulation, type Simulation } from "./simulation.ts";
import { latencyChangeSchema, readWith } from "./simulator-options.ts";

const MAX_ENTRIES_PER_ANSWER = 100_000;

/**
 * Serves a control endpoint, given by method and path; tests in other processes use them.
 * @returns the answer's body; undefined when there is no such endpoint
 * @throws InputError for parameters or a body that cannot be used
 */
export function control(
  simulation: Simulation,
  endpoint: string,
  query: URLSearchParams,
  body: unknown,
): object | undefined {
  switch (endpoint) {
    case "GET journal":
      return journalPage(simulation, sinceOf(query));
    case "GET stats":
      return simulation.statistics.snapshot();
    case "GET series":
      return simulation.statistics.series(sinceOf(query));
    case "POST limits":
      changeLimits(simulation, body);
      return {};
    case "POST faults":
      simulation.faults.replace(readFaults(body));
      return {};
    case "POST latency":
      Object.assign(simulation.latency, readWith(latencyChangeSchema, body, "latency"));
      return {};
    case "POST outage":
      simulation.outage.change(readWith(outageChangeSchema, body, "outage"), performance.now());
      return {};
    case "POST batches":
      Object.assign(simulation.batches.plan, readWith(batchPlanSchema, body, "batches"));
      return {};
    case "POST reset":
      resetSimulation(simulation);
      return {};
    default:
      return undefined;
  }
}

function changeLimits(simulation: Simulation, body: unknown): void {
  const { charge, ...limits } = readWith(
    limitChangeSchema.extend({ charge: z.enum(CHARGE_POLICIES).optional() }),
    body,
    "limits",
  );
  simulation.limits.change(limits, performance.now());
  simulation.chargePolicy = charge ?? simulation.chargePolicy;
}

/** Returns `{entries, more}`: entries after number `since`; while `more`, ask again after the last one. */
function journalPage({ journal }: Simulation, since: number): object {
  const entries = journal.entries(since, MAX_ENTRIES_PER_ANSWER + 1);
  return {
    entries: entries.slice(0, MAX_ENTRIES_PER_ANSWER),
    more: entries.length > MAX_ENTRIES_PER_ANSWER,
  };
}

function sinceOf(query: URLSearchParams): number {
  return readWith(z.coerce.number().int().min(0).default(0), query.get("since") ?? undefined, "since");
}
