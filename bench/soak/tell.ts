import { outlives } from "./keys.ts";
import type { Sample } from "./run.ts";
import { type Trend, trendOf, verdictOf } from "./trend.ts";

/** Before that, caches fill and queues come whose loops end after ten quiet minutes. */
const WARM_UP_SHARE = 1 / 3;

/** Prints the slope of each series; returns whether none grows. */
export function tell(samples: readonly Sample[]): boolean {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP_SHARE));
  const times = warm.map(({ at }) => at);
  console.log(`\n${"".padEnd(30)}      mean   slope per hour, 95 % interval`);
  let isFlat = true;
  for (const [name, values] of seriesOf(warm)) {
    const trend = trendOf(times, values);
    const verdict = outlives(name) ? "lives longer than the run" : verdictOf(trend);
    if (verdict === "grows") isFlat = false;
    console.log(`${name.padEnd(30)}${show(trend)}   ${verdict}`);
  }
  const done: Record<string, number> = {};
  for (const { load } of samples)
    for (const [kind, n] of Object.entries(load.ended)) done[kind] = (done[kind] ?? 0) + n;
  console.log(
    `\ndone: ${Object.entries(done)
      .map(([kind, n]) => `${kind} ${n}`)
      .join(", ")}`,
  );
  return isFlat;
}

/** All series of the samples, by name: those of keys by their kind alone. */
function seriesOf(samples: readonly Sample[]): [string, number[]][] {
  const processes = [...new Set(samples.flatMap(({ processes }) => Object.keys(processes)))];
  const kinds = [...new Set(samples.flatMap(({ keys }) => Object.keys(keys)))].sort();
  const of = (read: (sample: Sample) => number) => samples.map(read);
  return [
    ...processes.flatMap((name): [string, number[]][] => [
      [`${name}: heap, MB`, of(({ processes }) => (processes[name]?.heapBytes ?? 0) / 1e6)],
      [`${name}: external, MB`, of(({ processes }) => (processes[name]?.externalBytes ?? 0) / 1e6)],
      [`${name}: RSS, MB`, of(({ processes }) => (processes[name]?.rssBytes ?? 0) / 1e6)],
      [`${name}: handles`, of(({ processes }) => processes[name]?.handles ?? 0)],
    ]),
    ["Redis: connections", of(({ redis }) => redis.connections)],
    ["Redis: memory, MB", of(({ redis }) => redis.bytes / 1e6)],
    ["complete: p50, ms", of(({ load }) => load.p50Ms)],
    ["complete: p95, ms", of(({ load }) => load.p95Ms)],
    ...kinds.map((kind): [string, number[]] => [kind, of(({ keys }) => keys[kind] ?? 0)]),
  ];
}

function show({ mean, perHour, low, high }: Trend): string {
  const sign = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return `${mean.toFixed(2).padStart(10)}   ${sign(perHour)} (${sign(low)} to ${sign(high)})`.padEnd(50);
}
