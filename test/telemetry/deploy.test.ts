import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { settingsSchema } from "../../src/shared/settings-schema.ts";
import {
  FLEET_GAUGES,
  INSTRUMENTS,
  type Instrument,
  PROCESS_GAUGES,
} from "../../src/telemetry/metrics-catalog.ts";
import { manifest } from "../support/kubernetes-schema.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** Of prom-client, and of Prometheus itself. */
const OTHERS = /^(process_(cpu_seconds_total|resident_memory_bytes)|nodejs_eventloop_lag_p99_seconds)$/;
const ADDED_LABELS = ["instance", "job", "le"];

/** Every series that a scrape can have, with its labels. */
function knownSeries(): Map<string, ReadonlySet<string>> {
  const known = new Map<string, ReadonlySet<string>>();
  for (const [name, { kind, labels }] of Object.entries<Instrument>(INSTRUMENTS)) {
    const names = kind === "counter" ? [name] : ["bucket", "sum", "count"].map((part) => `${name}_${part}`);
    for (const series of names) known.set(series, new Set([...labels, ...ADDED_LABELS]));
  }
  for (const [name, { labels }] of Object.entries({ ...PROCESS_GAUGES, ...FLEET_GAUGES }))
    known.set(name, new Set<string>([...labels, ...ADDED_LABELS]));
  return known;
}

/** Returns what an expression names that does not exist. */
function unknownIn(expression: string): string[] {
  const known = knownSeries();
  const faults: string[] = [];
  const labels = new Set<string>();
  for (const [, name = "", matchers = ""] of expression.matchAll(/\b([a-z]\w*_\w+)(?:\{([^}]*)\})?/g)) {
    if (name === "histogram_quantile" || name.startsWith("__")) continue;
    const own = known.get(name);
    if (!own) {
      if (!OTHERS.test(name)) faults.push(name);
      for (const label of ADDED_LABELS) labels.add(label);
      continue;
    }
    for (const label of own) labels.add(label);
    for (const [, label = ""] of matchers.matchAll(/(\w+)\s*(?:=~|!=|!~|=)/g))
      if (!own.has(label)) faults.push(`${name}{${label}}`);
  }
  for (const [, list = ""] of expression.matchAll(/\bby\s*\(([^)]*)\)/g))
    for (const label of list.split(",").map((item) => item.trim()))
      if (!labels.has(label)) faults.push(`by (${label})`);
  return faults;
}

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; action: string };
}
const rules = (parse(read("dashboards/alerts.yml")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);

test("the check knows a name, and a label, that does not exist", () => {
  expect(unknownIn("sum(rate(gluellm_jobs_totals[5m]))")).toEqual(["gluellm_jobs_totals"]);
  expect(unknownIn('gluellm_jobs_total{state="failed"}')).toEqual(["gluellm_jobs_total{state}"]);
  expect(unknownIn("max by (queues) (gluellm_queue_oldest_seconds)")).toEqual(["by (queues)"]);
});

test("rules and dashboards name metrics and labels that exist", () => {
  const names = rules.map(({ alert }) => alert);
  for (const about of [
    "FailureRate",
    "QueueAge",
    "BudgetExhausted",
    "BreakerOpen",
    "RedisMemory",
    "DeadLetters",
    "Spend",
  ])
    expect(names).toContain(`GlueLLM${about}`);
  for (const { alert, expr, labels, annotations } of rules) {
    expect(unknownIn(expr), alert).toEqual([]);
    expect(["warning", "critical"]).toContain(labels.severity);
    expect(annotations.action, alert).toBeTruthy();
    for (const [, label = ""] of annotations.summary.matchAll(/\$labels\.(\w+)/g))
      expect(expr).toContain(label);
  }
  for (const file of readdirSync(join(ROOT, "dashboards/grafana"))) {
    const board = JSON.parse(read(`dashboards/grafana/${file}`)) as {
      uid: string;
      panels: { id: number; title: string; targets: { expr: string }[] }[];
    };
    expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length);
    for (const { title, targets } of board.panels)
      for (const { expr } of targets) expect(unknownIn(expr), `${board.uid}: ${title}`).toEqual([]);
  }
});

test("promtool takes the rules", (context) => {
  try {
    execFileSync("promtool", ["--version"], { stdio: "pipe" });
  } catch {
    context.skip("promtool is not installed (apt: prometheus)");
  }
  const said = execFileSync("promtool", ["check", "rules", join(ROOT, "dashboards/alerts.yml")], {
    encoding: "utf8",
  });
  expect(said).toContain(`${rules.length} rules found`);
});

function manifestsOf(file: string) {
  return parseAllDocuments(read(`deploy/${file}`), { strict: true }).map((document) => {
    expect(document.errors, file).toEqual([]);
    return manifest.parse(document.toJS());
  });
}

const fleet = manifestsOf("kubernetes.yaml");
const workloads = fleet.filter((one) => one.kind === "Deployment" || one.kind === "StatefulSet");

test("the fleet's parts fit together: selectors, ports, volumes, settings", () => {
  expect(workloads.map(({ metadata }) => metadata.name)).toEqual([
    ...["gluellm-redis", "gluellm-worker", "gluellm-api", "gluellm-dashboard"],
  ]);
  const claims = fleet.flatMap((one) => (one.kind === "PersistentVolumeClaim" ? [one.metadata.name] : []));
  for (const one of workloads) {
    const { selector, template } = one.spec;
    expect(template.metadata.labels).toEqual(selector.matchLabels);
    const [only] = template.spec.containers;
    const ports = only?.ports.map(({ name }) => name) ?? [];
    for (const found of [only?.startupProbe, only?.readinessProbe, only?.livenessProbe]) {
      const port = found?.httpGet?.port ?? found?.tcpSocket?.port;
      if (port) expect(ports).toContain(port);
    }
    const volumes = template.spec.volumes?.map(({ name }) => name) ?? ["data"];
    for (const { name } of only?.volumeMounts ?? []) expect(volumes).toContain(name);
    for (const volume of template.spec.volumes ?? [])
      if (volume.persistentVolumeClaim) expect(claims).toContain(volume.persistentVolumeClaim.claimName);
    const settings = [
      ...(only?.env ?? []).map(({ name }) => name),
      ...fleet.flatMap((found) => (found.kind === "ConfigMap" ? Object.keys(found.data) : [])),
    ];
    for (const name of settings)
      expect(Object.keys(settingsSchema.shape)).toContain(name.replace("GLUELLM_", ""));
  }
  for (const one of fleet) {
    if (one.kind !== "Service") continue;
    const target = workloads.find(({ spec }) => spec.template.metadata.labels.app === one.spec.selector.app);
    const ports = target?.spec.template.spec.containers[0]?.ports.map(({ containerPort }) => containerPort);
    expect(ports).toEqual(one.spec.ports.map(({ port }) => port));
  }
  // A worker's drain takes 30 s, and so does the API's.
  for (const name of ["gluellm-worker", "gluellm-api"]) {
    const one = workloads.find(({ metadata }) => metadata.name === name);
    expect(one?.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(30);
  }
});

test("the autoscalers scale the workers, by what the API and Prometheus tell", () => {
  const [auth, scaled] = manifestsOf("keda.yaml");
  const [hpa] = manifestsOf("hpa.yaml");
  if (auth?.kind !== "TriggerAuthentication" || scaled?.kind !== "ScaledObject") throw new Error("keda.yaml");
  if (hpa?.kind !== "HorizontalPodAutoscaler") throw new Error("hpa.yaml");
  expect(scaled.spec.scaleTargetRef.name).toBe("gluellm-worker");
  expect(hpa.spec.scaleTargetRef.name).toBe("gluellm-worker");
  const [trigger] = scaled.spec.triggers;
  expect(trigger?.authenticationRef.name).toBe(auth.metadata.name);
  const url = new URL(trigger?.metadata.url ?? "");
  expect([url.host, url.pathname, trigger?.metadata.valueLocation]).toEqual([
    ...["gluellm-api:4000", "/scale", "wantedWorkers"],
  ]);
  expect(Object.keys(FLEET_GAUGES)).toContain(hpa.spec.metrics[0]?.external.metric.name);
  // Whoever sets the number of workers does so alone.
  const worker = workloads.find(({ metadata }) => metadata.name === "gluellm-worker");
  expect(worker?.spec.replicas).toBeUndefined();
});
