import type { ScheduleRecord } from "../store/schedule.ts";
import type { OpenRun, TickRecord } from "../store/schedule-ticks.ts";
import type { Action, Definition } from "./definition.ts";
import { nextTime } from "./times.ts";

/** What became of a tick. */
export interface ScheduleTick {
  /**
   * `started`; `skipped`: an earlier run was still on; `missed`: no worker was there at its time, and `catchUp` leaves it;
   * `failed`: its run could not be started.
   */
  outcome: "started" | "skipped" | "missed" | "failed";
  /** Its planned time; of several missed ones that of the first. */
  plannedAt: Date;
  /** The time of the decision. */
  at: Date;
  /** The number of ticks it stands for: of missed ones more than one; more than 1,001 are not counted. */
  count: number;
  /** The id of the run, or of the completion's job. */
  id: string | undefined;
  error: string | undefined;
}

/** Where a schedule stands. */
export interface ScheduleStatus {
  id: string;
  kind: Action["kind"];
  /** The workflow's name, the completion's model, or the name of the batch's file. */
  subject: string;
  state: "active" | "paused";
  cron: string | undefined;
  everyMs: number | undefined;
  timezone: string;
  overlap: "skip" | "queue" | "allow";
  catchUp: "none" | "last" | "all";
  maxCatchUp: number;
  createdAt: Date;
  updatedAt: Date;
  /** The time of its next tick; undefined while it is paused. */
  nextRun: Date | undefined;
  /** The last run that it started, by a tick or by `trigger`. */
  lastRun: { id: string; plannedAt: Date; startedAt: Date } | undefined;
  /** The ids of the runs that it has begun and that have not ended. */
  running: string[];
  /** The planned times of ticks that wait for an earlier run. */
  waiting: Date[];
  /** How many ticks had which outcome since it was created. */
  counts: { started: number; skipped: number; missed: number; failed: number };
  /** The latest 100 outcomes, the last one first. */
  ticks: ScheduleTick[];
}

export function statusOf(
  { id, paused, createdAt, updatedAt, started, skipped, missed, failed }: ScheduleRecord,
  { cron, everyMs, timezone, overlap, catchUp, maxCatchUp, action }: Definition,
  { open, waiting, ticks }: { open: OpenRun[]; waiting: number[]; ticks: TickRecord[] },
  now: number,
): ScheduleStatus {
  const next = paused ? undefined : nextTime({ cron, everyMs, timezone }, now);
  const last = ticks.find(({ outcome }) => outcome === "started");
  return {
    id,
    kind: action.kind,
    subject: subjectOf(action),
    state: paused ? "paused" : "active",
    ...{ cron, everyMs, timezone, overlap, catchUp, maxCatchUp },
    createdAt: new Date(createdAt),
    updatedAt: new Date(updatedAt),
    nextRun: next === undefined ? undefined : new Date(next),
    lastRun: last && {
      id: last.id ?? "",
      plannedAt: new Date(last.plannedAt),
      startedAt: new Date(last.at),
    },
    running: open.map((run) => run.id),
    waiting: waiting.map((time) => new Date(time)),
    counts: { started, skipped, missed, failed },
    ticks: ticks.map((tick) => ({
      ...{ outcome: tick.outcome, count: tick.count, id: tick.id, error: tick.error },
      plannedAt: new Date(tick.plannedAt),
      at: new Date(tick.at),
    })),
  };
}

function subjectOf(action: Action): string {
  if (action.kind === "workflow") return action.workflow;
  return action.kind === "batch" ? action.filename : action.input.model.key;
}
