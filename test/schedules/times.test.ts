import { expect, test } from "vitest";
import { dueTicks } from "../../src/schedules/definition.ts";
import { latestTimes, nextTimes } from "../../src/schedules/times.ts";

const at = (text: string) => new Date(text).getTime();
const iso = (times: readonly number[]) => times.map((time) => new Date(time).toISOString().slice(5, 16));

/** Zone, pattern, a moment before the clock changes, the ticks from there on (UTC). */
const changes: [string, string, string, string, string[]][] = [
  // Forward: 02:00 becomes 03:00. What falls into the hour that is not runs at its end, once.
  [
    "Berlin, skipped hour",
    "Europe/Berlin",
    "30 2 * * *",
    "2026-03-28T00:00Z",
    ["03-28T01:30", "03-29T01:00", "03-30T00:30"],
  ],
  [
    "Berlin, hourly",
    "Europe/Berlin",
    "0 * * * *",
    "2026-03-28T23:30Z",
    ["03-29T00:00", "03-29T01:00", "03-29T02:00"],
  ],
  [
    "New York, skipped hour",
    "America/New_York",
    "30 2 * * *",
    "2026-03-07T00:00Z",
    ["03-07T07:30", "03-08T07:00", "03-09T06:30"],
  ],
  [
    "Lord Howe, skipped half hour",
    "Australia/Lord_Howe",
    "15 2 * * *",
    "2026-10-02T00:00Z",
    ["10-02T15:45", "10-03T15:30", "10-04T15:15"],
  ],
  [
    "Lord Howe, quarters",
    "Australia/Lord_Howe",
    "*/15 * * * *",
    "2026-10-03T15:10Z",
    ["10-03T15:15", "10-03T15:30", "10-03T15:45"],
  ],
  // Back: 03:00 becomes 02:00. A time of day runs once, the first time; what runs each hour does so in both.
  [
    "Berlin, doubled hour",
    "Europe/Berlin",
    "30 2 * * *",
    "2026-10-24T12:00Z",
    ["10-25T00:30", "10-26T01:30", "10-27T01:30"],
  ],
  [
    "Berlin, half hours",
    "Europe/Berlin",
    "*/30 * * * *",
    "2026-10-24T23:40Z",
    ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"],
  ],
  [
    "New York, doubled hour",
    "America/New_York",
    "30 1 * * *",
    "2026-10-31T12:00Z",
    ["11-01T05:30", "11-02T06:30", "11-03T06:30"],
  ],
  [
    "New York, hourly",
    "America/New_York",
    "0 * * * *",
    "2026-11-01T04:30Z",
    ["11-01T05:00", "11-01T06:00", "11-01T07:00"],
  ],
  [
    "Lord Howe, doubled half hour",
    "Australia/Lord_Howe",
    "45 1 * * *",
    "2026-04-04T00:00Z",
    ["04-04T14:45", "04-05T15:15", "04-06T15:15"],
  ],
  [
    "Lord Howe, quarters doubled",
    "Australia/Lord_Howe",
    "*/15 * * * *",
    "2026-04-04T14:20Z",
    ["04-04T14:30", "04-04T14:45", "04-04T15:00", "04-04T15:15", "04-04T15:30"],
  ],
];

test.each(changes)("daylight saving: %s", (_, timezone, cron, from, expected) => {
  const timing = { cron, timezone };
  const times = nextTimes(timing, at(from), expected.length);
  expect(iso(times)).toEqual(expected);
  // Looked at from behind, after the change, they are the same ones.
  expect(latestTimes(timing, at(from), times.at(-1) ?? 0, 100)).toEqual(times);
});

test("the multiples of a time, and a leap day", () => {
  expect(nextTimes({ everyMs: 1500, timezone: "UTC" }, 3000, 3)).toEqual([4500, 6000, 7500]);
  expect(latestTimes({ everyMs: 1500, timezone: "UTC" }, 3000, 7500, 2)).toEqual([6000, 7500]);
  expect(latestTimes({ everyMs: 1500, timezone: "UTC" }, 3000, 4499, 2)).toEqual([]);
  expect(iso(nextTimes({ cron: "0 0 29 2 *", timezone: "UTC" }, at("2026-01-01T00:00Z"), 1))).toEqual([
    "02-29T00:00",
  ]);
  expect(nextTimes({ everyMs: 40 * 86_400_000, timezone: "UTC" }, 0, 1)).toEqual([40 * 86_400_000]);
});

const base = {
  cron: "0 * * * *",
  everyMs: undefined,
  timezone: "UTC",
  overlap: "skip",
  maxCatchUp: 3,
} as const;
const HOUR = 3_600_000;
const done = at("2026-06-01T00:00Z");

test("what is due after a time without workers", () => {
  const late = done + 10 * HOUR + 600_000;
  expect(dueTicks({ ...base, catchUp: "none" }, done, late)).toMatchObject({
    run: [],
    missed: 10,
    until: done + 10 * HOUR,
  });
  expect(dueTicks({ ...base, catchUp: "last" }, done, late)).toMatchObject({
    run: [done + 10 * HOUR],
    missed: 9,
    areCaughtUp: true,
  });
  const all = dueTicks({ ...base, catchUp: "all" }, done, late);
  expect(all).toMatchObject({
    run: [8, 9, 10].map((n) => done + n * HOUR),
    missed: 7,
    firstMissed: done + HOUR,
  });
  // On time, or as good as: policies of missed ticks do not concern it.
  for (const catchUp of ["none", "last", "all"] as const)
    expect(dueTicks({ ...base, catchUp }, done, done + HOUR + 59_000)).toMatchObject({
      run: [done + HOUR],
      missed: 0,
      areCaughtUp: false,
    });
  expect(dueTicks({ ...base, catchUp: "all" }, done, done + 1)).toMatchObject({
    run: [],
    missed: 0,
    until: done,
  });
  // A year of seconds: bounded.
  const year = dueTicks(
    { ...base, cron: undefined, everyMs: 1000, catchUp: "all" },
    done,
    done + 365 * 24 * HOUR,
  );
  expect(year).toMatchObject({ missed: 998 });
});
