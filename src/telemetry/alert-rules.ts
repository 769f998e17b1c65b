import { counted } from "../shared/counted.ts";
import type { AlertSettings } from "../shared/metrics-settings.ts";
import { usd } from "../shared/usd.ts";
import type { FleetFigures } from "../store/fleet-figures.ts";
import type { Outcomes } from "../store/fleet-outcomes.ts";

/** What is judged. */
type AlertKind = "failure_rate" | "spend_hour" | "spend_day" | "queue_stuck" | "breaker_open";

/** Something that is wrong now. */
export interface Finding {
  kind: AlertKind;
  /** The queue, or the model; empty of the whole fleet. */
  subject: string;
  value: number;
  limit: number;
  /** It is told when it has been found for so long. */
  holdMs: number;
  /** For people. */
  text: string;
}

/** Minutes of the sums that rules look at. */
export const ALERT_WINDOWS = { failures: 10, hour: 60, day: 1440 } as const;
/** Of fewer jobs a share says little. */
const MIN_JOBS = 20;

/** Returns what is wrong now. */
export function findings(
  figures: FleetFigures,
  sums: Record<keyof typeof ALERT_WINDOWS, Outcomes>,
  settings: AlertSettings,
): Finding[] {
  return [
    ...failureRate(sums.failures, settings),
    ...spend("spend_hour", sums.hour, settings.hourUsd, "hour"),
    ...spend("spend_day", sums.day, settings.dayUsd, "day"),
    ...figures.queues.flatMap((queue) => [...stuck(queue, settings), ...breaker(queue, settings)]),
  ];
}

function failureRate({ ended, failed }: Outcomes, { failureRate: limit }: AlertSettings): Finding[] {
  const value = failed / Math.max(1, ended);
  if (ended < MIN_JOBS || value <= limit) return [];
  const text = `${failed} of ${ended} jobs failed in ${ALERT_WINDOWS.failures} minutes (limit ${percent(limit)})`;
  return [{ kind: "failure_rate", subject: "", value, limit, holdMs: 0, text }];
}

function spend(
  kind: "spend_hour" | "spend_day",
  { costUsd }: Outcomes,
  limit: number | undefined,
  window: string,
): Finding[] {
  if (limit === undefined || costUsd <= limit) return [];
  const text = `${usd(costUsd)} were spent in the last ${window} (limit ${usd(limit)})`;
  return [{ kind, subject: "", value: costUsd, limit, holdMs: 0, text }];
}

/** Jobs wait though nothing says that they have to, and for a minute none was answered. */
function stuck(queue: FleetFigures["queues"][number], { stuckMs }: AlertSettings): Finding[] {
  const { queue: subject, active, requests, oldestMs, isPaused, pauseMs, breakerOpenMs } = queue;
  const backlog = queue.waiting + queue.prioritized + queue.soon;
  const mayWait = isPaused || pauseMs > 0 || breakerOpenMs >= 0 || active > 0 || requests > 0;
  if (backlog === 0 || mayWait || oldestMs < stuckMs) return [];
  const text = `${counted(backlog, "job")} of queue ${subject} ${backlog === 1 ? "waits" : "wait"}, the oldest for ${minutes(oldestMs)}, and no worker takes them`;
  return [{ kind: "queue_stuck", subject, value: oldestMs / 1000, limit: stuckMs / 1000, holdMs: 0, text }];
}

/** While somebody wants the model: of one that nobody calls, nobody knows how it is. */
function breaker(queue: FleetFigures["queues"][number], { breakerMs }: AlertSettings): Finding[] {
  const { queue: subject, breakerOpenMs: openMs } = queue;
  const isWanted = queue.requests > 0 || queue.waiting + queue.prioritized + queue.soon > 0;
  if (openMs < 0 || !isWanted) return [];
  const text = `the circuit breaker of ${subject} has been open for ${minutes(openMs)}: its provider fails`;
  return [
    { kind: "breaker_open", subject, value: openMs / 1000, limit: breakerMs / 1000, holdMs: breakerMs, text },
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}

function minutes(ms: number): string {
  return `${Math.round(ms / 6000) / 10} minutes`;
}
