import { type Command, Option } from "commander";
import { backfill } from "../history/backfill.ts";
import type { HistoryDatabase } from "../history/database.ts";
import type { ReportOptions } from "../history/dimensions.ts";
import * as lists from "../history/lists.ts";
import { openHistory } from "../history/open-history.ts";
import { pastRun } from "../history/past-run.ts";
import * as reports from "../history/reports.ts";
import { counted } from "../shared/counted.ts";
import { InputError } from "../shared/errors.ts";
import { createLogger } from "../shared/logger.ts";
import { loadSettings } from "../shared/settings.ts";
import { isSealed } from "../store/envelope.ts";
import { readHistoryLag } from "../store/outbox-reader.ts";
import { openContents } from "../store/past-contents.ts";
import { openRedis } from "./compose.ts";
import * as text from "./history-text.ts";
import { integer, names, pastTime } from "./options.ts";
import { jsonText } from "./output.ts";

/** A call of a client or of `complete` alone is written by nobody until one of these processes runs. */
const NOTHING =
  "nothing in this time; --since 7d looks further back, and gluellm history backfill writes down what ended while no worker, API or batch ran";

interface Given {
  since?: number;
  until?: number;
  by?: string[];
  model?: string;
  tenant?: string;
  limit?: number;
  json?: boolean;
}

/** `gluellm history spend|latency|failures|cache|runs|slowest|batches|jobs|run|backfill|status`. */
export function addHistoryCommands(program: Command): void {
  const history = program
    .command("history")
    .description("What has ended, out of the database: spend, latency, failures, and more.");
  report(history, "spend", "What calls cost.", reports.spend, text.showSpend);
  report(
    history,
    "latency",
    "How long calls took and waited, as percentiles.",
    reports.latency,
    text.showLatency,
  );
  report(
    history,
    "failures",
    "What went wrong, by its cause, with the latest example.",
    reports.failures,
    text.showFailures,
  );
  report(history, "cache", "What the caches saved.", reports.cacheUse, text.showCache);
  report(history, "runs", "What became of runs of workflows.", reports.runs, text.showRuns);
  const slowest = asked(history.command("slowest").description("What took longest."));
  slowest.addOption(new Option("--of <what>", "of what").choices(lists.SLOW_KINDS).default("calls"));
  slowest.action((given) => print(given, lists.slowest, text.showSlowest));
  const batches = asked(history.command("batches").description("Batches that changed in the time."));
  batches.action((given) => print(given, lists.batches, text.showBatches));
  const jobs = asked(history.command("jobs").description("Jobs that have ended, searched for."));
  for (const [option, of] of Object.entries(SEARCH)) jobs.option(`--${option} <text>`, of);
  jobs.action((given) => print(given, pastJobs, text.showJobs));
  history
    .command("backfill")
    .description("Write down what Redis still has of what has ended; any number of times.")
    .option("--json", "as JSON")
    .action(fill);
  history
    .command("status")
    .description("Where the history is, and what waits for it.")
    .option("--json", "as JSON")
    .action(status);
  history
    .command("run")
    .description("One run with its steps.")
    .argument("<id>", "the run's id")
    .option("--json", "as JSON")
    .action((id: string, given: Given) => withHistory((opened) => oneRun(opened, id, given)));
}

const SEARCH = {
  text: "a part of its id, its custom_id, or of what is kept of prompt and answer",
  state: "succeeded, failed or cancelled",
  code: "of the error that ended it",
  batch: "the batch's id",
  run: "the run's id",
  conversation: "the conversation's id",
  "custom-id": "the row's custom_id",
};

/** The options that all reports have. */
function asked(command: Command): Command {
  return command
    .option("--since <time>", "from then on: 30m, 24h, 90d or a date (default: 24h)", pastTime)
    .option("--until <time>", "before then (default: now)", pastTime)
    .option("--model <provider:model>", "of this model")
    .option("--tenant <name>", "of this tenant")
    .option("--limit <n>", "the most rows", integer(1, 10_000))
    .option("--json", "as JSON");
}

type Ask<Row> = (history: HistoryDatabase, options: ReportOptions) => Promise<Row[]>;

function report<Row>(
  history: Command,
  name: string,
  description: string,
  ask: Ask<Row>,
  show: (rows: readonly Row[]) => string,
): void {
  const command = asked(history.command(name).description(description));
  command.option("--by <names>", "grouped by these, with commas: model,tenant,day", names);
  command.action((given: Given) => print(given, ask, show));
}

function print<Row>(given: Given, ask: Ask<Row>, show: (rows: readonly Row[]) => string): Promise<void> {
  const { json, ...options } = given;
  return withHistory(async (history) => {
    const rows = await ask(history, options);
    if (json) return jsonText(rows);
    return rows.length > 0 ? show(rows) : NOTHING;
  });
}

/** With what they asked and were answered, where this process can decrypt it. */
async function pastJobs(history: HistoryDatabase, options: ReportOptions): Promise<lists.PastJob[]> {
  const jobs = await lists.jobs(history, options);
  if (!jobs.some(({ prompt, answer }) => isSealed(prompt ?? "") || isSealed(answer ?? ""))) return jobs;
  await using host = await openRedis(loadSettings(), createLogger({ level: "error", json: false }));
  return await Promise.all(jobs.map((job) => openContents(host.store, job)));
}

async function oneRun(history: HistoryDatabase, id: string, { json }: Given): Promise<string> {
  const run = await pastRun(history, id);
  if (!run)
    throw new InputError(`the history has no run ${id}`, "gluellm workflow status shows one that goes on");
  return json ? jsonText(run) : text.showRun(run);
}

async function fill({ json }: Given): Promise<void> {
  const settings = loadSettings();
  await using host = await openRedis(settings, createLogger({ level: "error", json: false }));
  await withHistory(async (history) => {
    const report = await backfill(host.store, history, settings.history);
    const { jobs, runs, batches, unreadable } = report;
    if (json) return jsonText(report);
    const lost =
      batches > 0
        ? "; the rows of batches that have ended are not in Redis, and can only be written as they end"
        : "";
    return `${counted(jobs, "job")}, ${counted(runs, "run")} and ${counted(batches, "batch", "batches")} of Redis are in the history${lost}${unreadable > 0 ? `; ${unreadable} could not be read` : ""}`;
  });
}

async function status({ json }: Given): Promise<void> {
  const settings = loadSettings();
  await using host = await openRedis(settings, createLogger({ level: "error", json: false }));
  await withHistory(async (history) => {
    const lag = await readHistoryLag(host.store);
    const rows = await lists.rowCounts(history);
    const { engine, place } = history;
    if (json) return jsonText({ engine, place, ...lag, rows });
    const since = lag.since === undefined ? "" : `, the first since ${new Date(lag.since).toISOString()}`;
    const counts = Object.entries(rows).map(([table, count]) => `${count} ${table}`);
    return `${engine} at ${place}\n${counts.join(", ")}\n${counted(lag.waiting, "end")} ${lag.waiting === 1 ? "waits" : "wait"} for it${since}`;
  });
}

async function withHistory(action: (history: HistoryDatabase) => Promise<string>): Promise<void> {
  const history = await openHistory(loadSettings());
  try {
    process.stdout.write(`${await action(history)}\n`);
  } finally {
    await history.close();
  }
}
