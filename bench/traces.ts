/**
 * What traces and log files cost per completion of 0 ms: variants side by side in one run, in turn, so that a busy machine is busy for all of
 * them. Arguments: rounds (default 5), calls per round and variant (default 1,500).
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inSpan } from "../src/telemetry/tracing.ts";
import { BenchSite } from "./site.ts";

const [rounds = "5", calls = "1500"] = process.argv.slice(2);
const CALLS = join(import.meta.dirname, "client-calls.ts");

/** Takes spans and forgets them. */
const collector = createServer((request, response) => {
  request.resume().once("end", () => response.setHeader("content-type", "application/json").end("{}"));
});
await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
const traces = { ENABLE_TRACING: "true", OTEL_EXPORTER_OTLP_ENDPOINT: endpoint };
const tenth = { ...traces, GLUELLM_TRACING_SAMPLE_RATIO: "0.1" };
const logs = { GLUELLM_LOG_DIR: "logs" };

const VARIANTS: Record<string, Record<string, string>> = {
  off: {},
  "off again": {},
  "log file (debug)": logs,
  "traces, 10 % kept": tenth,
  "traces, all kept": traces,
  "log file, traces 10 %, metrics": { ...logs, ...tenth, GLUELLM_ENABLE_METRICS: "true" },
};

const figures = new Map(
  Object.keys(VARIANTS).map((name) => [name, { cpu: [] as number[], time: [] as number[] }]),
);
await using site = await BenchSite.open();
for (let round = 0; round < Number(rounds); round++) {
  for (const [name, env] of Object.entries(VARIANTS)) {
    const output = join(site.folder, "figures.json");
    const { exit } = site.run(CALLS, [calls, output], env);
    if ((await exit) !== 0) throw new Error(`${name} failed`);
    const { total, durationMs, cpuMs } = JSON.parse(readFileSync(output, "utf8")) as Record<string, number>;
    figures.get(name)?.cpu.push(Number(cpuMs) / Number(total));
    figures.get(name)?.time.push(Number(durationMs) / Number(total));
  }
}
collector.closeAllConnections();
collector.close();

const nothing = async () => {};
const median = (values: number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const off = figures.get("off");
const [offCpu, offTime] = [median(off?.cpu ?? []), median(off?.time ?? [])];
const share = (value: number, of: number) =>
  `${value >= of ? "+" : ""}${(((value - of) / of) * 100).toFixed(1)} %`;
console.log("variant | CPU per completion | against off | time per completion | against off");
// A completion without tools passes five such places.
const PLACES = 5;
const REPEATS = 200_000;
const startedAt = performance.now();
for (let n = 0; n < REPEATS; n++) await inSpan("off", {}, nothing);
const inSpans = performance.now() - startedAt;
for (let n = 0; n < REPEATS; n++) await nothing();
const offMs = ((2 * inSpans - (performance.now() - startedAt)) / REPEATS) * PLACES;
console.log(
  `switched off, ${PLACES} places for spans take ${((offMs / offCpu) * 100).toFixed(2)} % of a completion's CPU`,
);
for (const [name, { cpu, time }] of figures) {
  const [ownCpu, ownTime] = [median(cpu), median(time)];
  console.log(
    [
      name,
      `${ownCpu.toFixed(3)} ms`,
      share(ownCpu, offCpu),
      `${ownTime.toFixed(3)} ms`,
      share(ownTime, offTime),
    ].join(" | "),
  );
}
