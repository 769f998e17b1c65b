import type { Command } from "commander";
import { PATTERNS } from "../patterns/all.ts";
import { readWorkerStates } from "../producers/worker-states.ts";
import { rolloutGroup } from "../rollouts/group-workflow.ts";
import { count } from "../shared/counted.ts";
import { loadSettings } from "../shared/settings.ts";
import type { WorkerState } from "../shared/worker-state.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { table } from "./options.ts";
import { jsonText, printable } from "./output.ts";
import { bytesText } from "./progress/figures.ts";
import { durationText } from "./step-tree.ts";

/** `gluellm workers`. */
export function addWorkersCommand(program: Command): void {
  program
    .command("workers")
    .description("Every worker process: version, uptime, load, memory, clock, and what it can run.")
    .option("--json", "as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const settings = loadSettings();
      const logger = loggerOf(settings, "warn");
      await using host = await openRedis(settings, logger);
      const workers = await readWorkerStates(host.store);
      const text = workers.length === 0 ? none(settings.namespace) : show(workers);
      process.stdout.write(`${json ? jsonText(workers) : text}\n`);
    });
}

function none(namespace: string): string {
  return `no workers in namespace ${namespace}: jobs wait until one runs (gluellm worker, or gluellm up)`;
}

const HEADING = ["WORKER", "VERSION", "UP", "JOBS", "ENDED", "MEMORY", "LAG", "CLOCK", "QUEUES"];

function show(workers: readonly WorkerState[]): string {
  const rows = workers.map((worker) => {
    const { host, pid, version, uptimeMs, jobs, rssBytes, memoryShare, lagMs, clockAheadMs, queues } = worker;
    return [
      `${host}:${pid}`,
      version ?? "?",
      uptimeMs === null ? "?" : durationText(uptimeMs),
      jobs ? count(jobs.active) : "?",
      jobs ? count(jobs.ended) : "?",
      worker.isMemoryLow
        ? "low"
        : rssBytes === null
          ? "?"
          : `${bytesText(rssBytes)} (${Math.round((memoryShare ?? 0) * 100)} %)`,
      lagMs === null ? "?" : `${count(lagMs)} ms`,
      clockText(clockAheadMs),
      queues ? count(queues.length) : "?",
    ];
  });
  const able = [...Map.groupBy(workers, abilities)].map(([text, those]) => {
    const who =
      those.length === workers.length
        ? "all of them"
        : those.map(({ host, pid }) => `${host}:${pid}`).join(", ");
    return `${printable(who)} can run\n${text}`;
  });
  return [table([HEADING, ...rows]), "", ...able].join("\n");
}

/** `ok` up to the second that nobody minds. */
function clockText(aheadMs: number | null): string {
  if (aheadMs === null) return "?";
  if (Math.abs(aheadMs) < 1000) return "ok";
  return `${(Math.abs(aheadMs) / 1000).toFixed(0)} s ${aheadMs > 0 ? "ahead" : "behind"}`;
}

function abilities({ queueGlobs, providers, tools, workflows, activities }: WorkerState): string {
  // Every worker that runs workflows has that of rollouts.
  const others = workflows.filter(({ name }) => name !== rolloutGroup.name);
  const own = others.filter(({ name }) => !(name in PATTERNS));
  const patterns = others.length - own.length;
  const named = own.map(({ name, version }) =>
    version && version > 1 ? `${name} (version ${version})` : name,
  );
  const facts: [string, readonly string[]][] = [
    ["providers", providers],
    ["tools", tools],
    ["workflows", [...named, ...(patterns > 0 ? [`${patterns} patterns`] : [])]],
    ["activities", activities],
    ["queues that fit", queueGlobs.every((glob) => glob === "*") ? [] : queueGlobs],
  ];
  const told = facts.filter(([, names]) => names.length > 0);
  return told.map(([what, names]) => `  ${what}: ${printable(names.join(", "))}`).join("\n");
}
