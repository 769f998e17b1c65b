import type { ScheduleStatus } from "../schedules/schedule-status.ts";
import { counted } from "../shared/counted.ts";
import { table } from "./options.ts";
import { printable } from "./output.ts";

const MAX_SHOWN = 10;

/** Schedules as rows. */
export function showSchedules(schedules: readonly ScheduleStatus[]): string {
  if (schedules.length === 0) return "no schedules";
  const rows = schedules.map((schedule) => {
    const { id, kind, subject, state, nextRun, lastRun, counts } = schedule;
    const { started, skipped, missed, failed } = counts;
    return [
      ...[id, `${kind} ${subject}`, timesOf(schedule), state],
      ...[timeText(nextRun), timeText(lastRun?.startedAt), `${started}`, `${skipped}/${missed}/${failed}`],
    ];
  });
  return table([
    ["SCHEDULE", "RUNS", "AT", "STATE", "NEXT", "LAST", "STARTED", "SKIPPED/MISSED/FAILED"],
    ...rows,
  ]);
}

/** A schedule with its latest ticks. */
export function showSchedule(schedule: ScheduleStatus): string {
  const { id, kind, subject, state, overlap, catchUp, maxCatchUp, running, waiting, counts, ticks } =
    schedule;
  const facts: [string, string][] = [
    ["schedule", id],
    ["runs", `${kind} ${subject}`],
    ["at", timesOf(schedule)],
    ["state", state],
    ["next run", timeText(schedule.nextRun)],
    [
      "last run",
      schedule.lastRun ? `${timeText(schedule.lastRun.startedAt)} ${schedule.lastRun.id}` : "none",
    ],
    ["overlap", overlap],
    ["catch-up", catchUp === "all" ? `all, at most ${maxCatchUp}` : catchUp],
    [
      "ticks",
      Object.entries(counts)
        .map(([outcome, count]) => `${count} ${outcome}`)
        .join(", "),
    ],
    ...running.slice(0, MAX_SHOWN).map((run): [string, string] => ["running", run]),
    ...(waiting.length > 0
      ? [["waiting", `${counted(waiting.length, "tick")} for the run before`] as [string, string]]
      : []),
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, text]) => `${name.padEnd(width)}  ${printable(text)}`);
  if (ticks.length === 0) return lines.join("\n");
  const rows = ticks.slice(0, MAX_SHOWN).map(({ plannedAt, outcome, count, id: run, error }) => {
    const what = count > 1 ? `${count} ticks from then on` : (run ?? error ?? "");
    return [timeText(plannedAt), outcome, what];
  });
  return [...lines, "", table([["TICK", "OUTCOME", ""], ...rows])].join("\n");
}

/** Times, by UTC and by the schedule's own zone. */
export function showTimes(times: readonly Date[], timezone: string): string {
  const zone = new Intl.DateTimeFormat("en-GB", {
    timeZone: timezone,
    dateStyle: "medium",
    timeStyle: "long",
  });
  return times
    .map((time) => (timezone === "UTC" ? timeText(time) : `${timeText(time)}  ${zone.format(time)}`))
    .join("\n");
}

function timesOf({ cron, everyMs, timezone }: ScheduleStatus): string {
  return cron === undefined ? `every ${everyMs} ms` : `${cron} ${timezone}`;
}

function timeText(time: Date | undefined): string {
  return time === undefined ? "–" : time.toISOString();
}
