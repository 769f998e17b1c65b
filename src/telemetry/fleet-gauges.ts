import { budgetId, limitsOf } from "../shared/budget.ts";
import { hasRuns, workflowOfQueue } from "../shared/catalog.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import {
  type FleetFigures,
  type QueueFigures,
  readFleetFigures,
  readRedisMemory,
} from "../store/fleet-figures.ts";
import { readOutcomes } from "../store/fleet-outcomes.ts";
import { readLearnedLimits } from "../store/learned-limits.ts";
import type { Store } from "../store/store.ts";
import type { FleetReading } from "./metrics.ts";
import type { FleetGauge } from "./metrics-catalog.ts";
import { type ScaleSettings, scaleOfQueues } from "./scale.ts";
import { readTenantGauges } from "./tenant-gauges.ts";

/** Minutes of the sums of what was spent. */
const SPEND_WINDOWS = { hour: 60, day: 1440 } as const;

/**
 * Returns the gauges of the fleet.
 * @param reader the id of a process that tells them only while no other one does; absent: they are told
 * @returns undefined when another process tells them
 */
export async function readFleetGauges(
  store: Store,
  settings: ScaleSettings,
  reader?: string,
): Promise<FleetReading[] | undefined> {
  const figures = await readFleetFigures(store, { ...(reader !== undefined && { reader }) });
  if (!figures) return undefined;
  const [learned, memory, spent, tenants] = await Promise.all([
    readLearnedLimits(store),
    readRedisMemory(store),
    readOutcomes(store, SPEND_WINDOWS),
    readTenantGauges(store, figures.tenantRows),
  ]);
  const scale = await scaleOfQueues(store, settings, figures.queues, learned);
  const { limits } = settings;
  return [
    ...figures.queues.flatMap(ofQueue),
    ...figures.queues.flatMap((queue) => ofModel(queue, limits, learned)),
    ...ofFleet(figures),
    ...tenants,
    reading("gluellm_wanted_workers", {}, scale.wantedWorkers),
    reading("gluellm_backlog_seconds", {}, scale.backlogSeconds),
    reading("gluellm_limit_bound", {}, scale.limitBound ? 1 : 0),
    reading("gluellm_spend_usd", { window: "hour" }, spent.hour.costUsd),
    reading("gluellm_spend_usd", { window: "day" }, spent.day.costUsd),
    reading("gluellm_redis_memory_bytes", {}, memory.usedBytes),
    reading("gluellm_redis_memory_limit_bytes", {}, memory.limitBytes),
  ];
}

function ofQueue(figures: QueueFigures): FleetReading[] {
  const { queue, waiting, prioritized, active, delayed, asleep, completed, failed } = figures;
  const states = { waiting, prioritized, active, delayed, asleep, completed, failed };
  const labels = { queue };
  return [
    ...Object.entries(states).map(([state, value]) => reading("gluellm_queue_jobs", { queue, state }, value)),
    reading("gluellm_queue_oldest_seconds", labels, figures.oldestMs / 1000),
    reading("gluellm_queue_paused", labels, figures.isPaused ? 1 : 0),
    reading("gluellm_queue_pause_seconds", labels, figures.pauseMs / 1000),
    ...(hasRuns(queue)
      ? [
          reading(
            "gluellm_active_workflows",
            { workflow: workflowOfQueue(queue) ?? "other" },
            waiting + prioritized + active + delayed + asleep,
          ),
        ]
      : []),
  ];
}

function ofModel(
  { queue, requests, tokens, outputTokens, breakerOpenMs, isProbing }: QueueFigures,
  limits: Settings["limits"],
  learned: Awaited<ReturnType<typeof readLearnedLimits>>,
): FleetReading[] {
  const ref = parseCompletionQueueName(queue);
  if (!ref) return [];
  const { entry: provider, model, key } = ref;
  const budget = budgetId(limits, key);
  const of = (dimension: string) => ({ provider, model, budget, dimension });
  const used = { requests, tokens, outputTokens };
  const state = breakerOpenMs < 0 ? 0 : isProbing ? 1 : 2;
  return [
    reading("gluellm_breaker_state", { provider, model }, state),
    ...Object.entries(limitsOf(limits, learned, key)).map(([dimension, { perMinute }]) =>
      reading("gluellm_budget_limit", of(dimension), perMinute),
    ),
    reading("gluellm_budget_used", of("rpm"), used.requests),
    reading("gluellm_budget_used", of("tpm"), used.tokens),
    reading("gluellm_budget_used", of("itpm"), used.tokens - used.outputTokens),
    reading("gluellm_budget_used", of("otpm"), used.outputTokens),
  ];
}

function ofFleet({ batches, rows, workers, unreadable }: FleetFigures): FleetReading[] {
  return [
    reading("gluellm_batches", {}, batches),
    ...Object.entries(rows).map(([state, value]) => reading("gluellm_batch_rows", { state }, value)),
    reading("gluellm_workers", {}, workers),
    reading("gluellm_unreadable_jobs", {}, unreadable),
  ];
}

function reading(name: FleetGauge, labels: Record<string, string>, value: number): FleetReading {
  return { name, labels, value };
}
