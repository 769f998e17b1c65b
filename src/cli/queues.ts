import type { Command } from "commander";
import { readQueueStates } from "../producers/queue-states.ts";
import { findQueue, resumeQueue } from "../producers/resume-queue.ts";
import type { LimitInForce } from "../shared/budget.ts";
import { count, counted } from "../shared/counted.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { removeQueue } from "../store/retention.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { table } from "./options.ts";
import { jsonText, printable } from "./output.ts";
import { findDamage } from "./queue-repair.ts";

/** `gluellm queues`. */
export function addQueuesCommand(program: Command): void {
  const queues = program
    .command("queues")
    .description("Every queue: jobs, limits and their use, pauses, workers, and what waits for what.")
    .option("--json", "as JSON")
    .allowExcessArguments()
    .action(async (options: { json?: boolean }, command: Command) => {
      const [unknown] = command.args;
      if (unknown !== undefined) {
        const names = command.commands.map((each) => each.name());
        const known = hintOf(didYouMean(unknown, names), `known: ${names.join(", ")}`);
        command.error(`error: unknown command '${printable(unknown)}'\n(${known})`);
      }
      const { settings, host } = await open();
      await using _ = host;
      const states = await readQueueStates(host.store, settings);
      process.stdout.write(`${options.json ? jsonText(states) : show(states, settings)}\n`);
    });
  queues
    .command("remove")
    .description("Remove a queue with the jobs that have ended; results are kept as long as they would be.")
    .argument("<name>", "the queue as `gluellm queues` shows it, such as openai:gpt-4o-mini")
    .option("--force", "with the jobs that have not ended")
    .action(async (name: string, { force = false }: { force?: boolean }) => {
      const { host } = await open();
      await using _ = host;
      const queue = await findQueue(host.store, name);
      const { unfinished, ended } = await removeQueue(host.store, queue, force);
      if (unfinished > 0 && !force) {
        throw new InputError(
          `queue ${name} has ${jobs(unfinished)} not ended`,
          "let workers end them, or remove them with it: --force",
          "queue_in_use",
        );
      }
      process.stdout.write(`removed ${queue} with ${jobs(unfinished)} not ended and ${jobs(ended)} ended\n`);
    });
  queues
    .command("repair")
    .description("Show what cannot be read in Redis: jobs, names, cards; and jobs that no worker would find.")
    .option("--yes", "remove what cannot be read, and put back the jobs that can")
    .action(async ({ yes = false }: { yes?: boolean }) => {
      const { settings, host, logger } = await open();
      await using _ = host;
      const damages = await findDamage({ store: host.store, settings, logger });
      if (damages.length === 0) return void process.stdout.write("nothing to repair\n");
      const rows = damages.map(({ what, name, problem }) => [what, name, problem]);
      process.stdout.write(`${table([["WHAT", "NAME", "PROBLEM"], ...rows])}\n`);
      if (!yes) return void process.stdout.write("nothing is removed without --yes\n");
      for (const { repair } of damages) await repair();
      const done = Map.groupBy(damages, ({ remedy }) => remedy);
      const said = [...done].map(([remedy, { length }]) => `${remedy} ${length}`);
      process.stdout.write(`${said.join(", ")}\n`);
    });
  queues
    .command("resume")
    .description("Lift a pause, the provider's or an operator's, before its time.")
    .argument("<name>", "the queue as `gluellm queues` shows it, such as openai:gpt-4o-mini")
    .action(async (name: string) => {
      const { settings, host } = await open();
      await using _ = host;
      const resumed = await resumeQueue(host.store, settings, name);
      process.stdout.write(`resumed ${resumed.join(", ")}\n`);
    });
}

async function open() {
  const settings = loadSettings();
  const logger = loggerOf(settings, "warn");
  return { settings, logger, host: await openRedis(settings, logger) };
}

function jobs(number: number): string {
  return counted(number, "job");
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
