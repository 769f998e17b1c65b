import type { Command } from "commander";
import { readQueueStates } from "../producers/queue-states.ts";
import { createLogger } from "../shared/logger.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { openRedis } from "./compose.ts";
import { table } from "./options.ts";
import { count } from "./report.ts";

/** `gluellm queues`. */
export function addQueuesCommand(program: Command): void {
  program
    .command("queues")
    .description("Every queue: jobs, limits and their use, pauses, workers, and what waits for what.")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }) => {
      const settings = loadSettings();
      const logger = createLogger({ ...settings.log, level: settings.log.level ?? "warn" });
      await using host = await openRedis(settings, logger);
      const states = await readQueueStates(host.redis, host.keys, settings);
      process.stdout.write(`${options.json ? JSON.stringify(states, null, 2) : show(states, settings)}\n`);
    });
}

type QueueState = Awaited<ReturnType<typeof readQueueStates>>[number];

function show(states: readonly QueueState[], { namespace }: Settings): string {
  if (states.length === 0) return `no queues in namespace ${namespace} yet; they appear with their first job`;
  const heading = ["QUEUE", "WAITING", "ACTIVE", "DELAYED", "FAILED", "RPM", "TPM", "WORKERS", "WAITS FOR"];
  return table([heading, ...states.map(row)]);
}

function row({ key, counts, used, limit, workers, waitsFor }: QueueState): string[] {
  return [
    key,
    count(counts.waiting),
    count(counts.active),
    count(counts.delayed),
    count(counts.failed),
    used.requests > 0 || limit?.rpm ? share(used.requests, limit?.rpm) : "-",
    used.tokens > 0 || limit?.tpm ? share(used.tokens, limit?.tpm) : "-",
    count(workers),
    waitsFor.join("; "),
  ];
}

function share(used: number, limit: number | undefined): string {
  return limit === undefined ? count(used) : `${count(used)}/${count(limit)}`;
}

/** Why the jobs of a queue do not run. */
export function waitsForText({ key, waitsFor }: Pick<QueueState, "key" | "waitsFor">): string {
  return `${key} waits for ${waitsFor.join("; ")}`;
}
