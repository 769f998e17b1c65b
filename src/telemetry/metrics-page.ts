import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { Gauge, Registry } from "prom-client";
import type { Settings } from "../shared/settings.ts";
import { releaseReader } from "../store/fleet-figures.ts";
import type { Store } from "../store/store.ts";
import { readFleetGauges } from "./fleet-gauges.ts";
import type { FleetReading, Metrics } from "./metrics.ts";
import { FLEET_GAUGES } from "./metrics-catalog.ts";
import { LabelCaps } from "./metrics-labels.ts";

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;
const REDIS_TIMEOUT_MS = 3000;
/** Of this process, as the one that may tell the fleet's gauges. */
const READER = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;

/** What a process can tell: its own counters, and the fleet it belongs to. */
export interface TelemetrySource {
  store: Store;
  settings: Settings;
  metrics?: Metrics | undefined;
}

/** Whether a page has the fleet's gauges: always, never, or while no other process tells them. */
export type FleetPart = "always" | "never" | "elected";

/** Returns what a process tells to Prometheus, in its text format. Without Redis it tells of itself alone, and says so. */
export async function metricsPage(
  { store, settings, metrics }: TelemetrySource,
  part: FleetPart = "elected",
): Promise<string> {
  const own = (await metrics?.text()) ?? "# this process counts nothing: GLUELLM_ENABLE_METRICS=true\n";
  if (part === "never") return own;
  const reading = readFleetGauges(store, settings, part === "elected" ? READER : undefined);
  const gauges = await Promise.race([
    reading.catch(() => "away" as const),
    delay(REDIS_TIMEOUT_MS, "away" as const, { ref: false }),
  ]);
  if (gauges === "away") return `${own}# Redis does not answer: the gauges of the fleet are left out\n`;
  if (!gauges) return `${own}# another process tells the gauges of the fleet; ?fleet=true asks this one\n`;
  return `${own}${await textOf(gauges)}`;
}

/** Lets another process tell the gauges of the fleet at its next scrape. */
export async function leaveReading(store: Store): Promise<void> {
  await releaseReader(store, READER).catch(() => {});
}

async function textOf(readings: readonly FleetReading[]): Promise<string> {
  const registry = new Registry();
  const caps = new LabelCaps();
  const gauges = new Map<string, Gauge>();
  for (const [name, { help, labels }] of Object.entries(FLEET_GAUGES))
    gauges.set(name, new Gauge({ name, help, labelNames: [...labels], registers: [registry] }));
  for (const { name, labels, value } of readings) {
    const capped = caps.cap(labels);
    const gauge = gauges.get(name);
    // Those that are too many are told as one, where a sum says something.
    if (!isSummed(name) && Object.values(capped).includes("other")) continue;
    gauge?.inc(capped, value);
  }
  return registry.metrics();
}

function isSummed(name: FleetReading["name"]): boolean {
  return !/_(seconds|state|paused|limit)$/.test(name);
}
