import type { Command } from "commander";
import { readQueueStates } from "../producers/queue-states.ts";
import { resumeQueue } from "../producers/resume-queue.ts";
import type { LimitInForce } from "../shared/budget.ts";
import { createLogger } from "../shared/logger.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { openRedis } from "./compose.ts";
import { table } from "./options.ts";
import { jsonText } from "./output.ts";
import { count } from "./report.ts";

/** `gluellm queues`. */
export function addQueuesCommand(program: Command): void {
  const queues = program
    .command("queues")
    .description("Every queue: jobs, limits and their use, pauses, workers, and what waits for what.")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }) => {
      const settings = loadSettings();
      const logger = createLogger({ ...settings.log, level: settings.log.level ?? "warn" });
      await using host = await openRedis(settings, logger);
      const states = await readQueueStates(host.store, settings);
      process.stdout.write(`${options.json ? jsonText(states) : show(states, settings)}\n`);
    });
  queues
    .command("resume")
    .description("Lift a pause, the provider's or an operator's, before its time.")
    .argument("<name>", "the queue as `gluellm queues` shows it, such as openai:gpt-4o-mini")
    .action(async (name: string) => {
      const settings = loadSettings();
      const logger = createLogger({ ...settings.log, level: settings.log.level ?? "warn" });
      await using host = await openRedis(settings, logger);
      const resumed = await resumeQueue(host.store, settings, name);
      process.stdout.write(`resumed ${resumed.join(", ")}\n`);
    });
}

type QueueState = Awaited<ReturnType<typeof readQueueStates>>[number];

function show(states: readonly QueueState[], { namespace }: Settings): string {
  if (states.length === 0) return `no queues in namespace ${namespace} yet; they appear with their first job`;
  return table([HEADING, ...states.map(row)]);
}

const HEADING = [
  "QUEUE",
  "WAITING",
  "ACTIVE",
  "DELAYED",
  "FAILED",
  "RPM",
  "TPM",
  "BREAKER",
  "WORKERS",
  "WAITS FOR",
];

function row({ key, bucket, counts, used, limits, breaker, workers, waitsFor }: QueueState): string[] {
  return [
    bucket ? `${key} (bucket ${bucket})` : key,
    count(counts.waiting),
    count(counts.active),
    count(counts.delayed),
    count(counts.failed),
    share(used.requests, limits.rpm) || "-",
    tokenShares(used, limits) || "-",
    breaker.state,
    count(workers),
    waitsFor.join("; "),
  ];
}

function share(used: number, limit: LimitInForce | undefined): string {
  if (limit) return `${count(used)}/${count(limit.perMinute)} ${limit.source}`;
  return used > 0 ? count(used) : "";
}

/** Input and output apart where the provider limits them so. */
function tokenShares({ tokens, outputTokens }: QueueState["used"], limits: QueueState["limits"]): string {
  const parts = [limits.tpm || !(limits.itpm || limits.otpm) ? share(tokens, limits.tpm) : ""];
  if (limits.itpm) parts.push(`in ${share(tokens - outputTokens, limits.itpm)}`);
  if (limits.otpm) parts.push(`out ${share(outputTokens, limits.otpm)}`);
  return parts.filter(Boolean).join(", ");
}

/** Why the jobs of a queue do not run. */
export function waitsForText({ key, waitsFor }: Pick<QueueState, "key" | "waitsFor">): string {
  return `${key} waits for ${waitsFor.join("; ")}`;
}
