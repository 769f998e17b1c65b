import { type Command, InvalidArgumentError, Option } from "commander";
import { INPUT_FORMATS, OUTPUT_FORMATS } from "../batch/batch-run.ts";
import { quotedLimit } from "../batch/quote/quote-file.ts";
import { InputError } from "../shared/errors.ts";
import type { BatchRecord } from "../shared/records.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { cancelBatch, listBatches, viewBatch } from "../store/batch.ts";
import { cancelServedBatch } from "../store/served-batch.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { addQuoteCommand } from "./batch-quote.ts";
import { type BatchRunOptions, runBatchCommand } from "./batch-run.ts";
import { openRedis, type RedisHost } from "./compose.ts";
import { onInterruption, STOPPING } from "./exit.ts";
import { addLaneOptions, BY_HELP, readLanes } from "./lane-options.ts";
import { CACHE_HELP, collect, integer, NO_CACHE_HELP, namedValues, number, table } from "./options.ts";
import { jsonText } from "./output.ts";
import { ownCommand } from "./own-command.ts";
import type { RemoteBatches, Submission } from "./remote-batch.ts";
import { addWireOptions, readWireOptions, type WireFlags } from "./wire-options.ts";

const REMOTE = ["--remote <url>", "the address of an API elsewhere; its key is GLUELLM_API_KEY"] as const;

/** `quote:p10|p50|p90`, or a number of USD. */
function costLimit(text: string): string {
  if (/^quote:(p10|p50|p90)$/.test(text) || Number(text) >= 1e-9) return text;
  throw new InvalidArgumentError(
    "It must be a number of at least 1e-9, or quote:p10, quote:p50 or quote:p90.",
  );
}

function maxCostOf(
  inputPath: string,
  options: Record<string, unknown>,
  settings: Settings,
): number | undefined {
  const { maxCost, output, model = settings.defaultModel, by } = options;
  if (maxCost === undefined) return undefined;
  const files = { inputPath, outputPath: output as string, model: model as string };
  return quotedLimit(maxCost as string, files, by !== undefined);
}

/** `gluellm batch run|quote|submit|list|status|cancel|download`. */
export function addBatchCommands(program: Command): void {
  const batch = program.command("batch").description("Run files of prompts, and see what became of them.");
  addLaneOptions(addWireOptions(batch.command("run")))
    .description("Send every row of IN to a model and write the answers to OUT.jsonl, in input order.")
    .argument(
      "<input>",
      "JSON lines (vendors' batch lines, {prompt} or {messages}), a JSON array, or CSV with a header",
    )
    .requiredOption("-o, --output <file>", "where the results go; failed rows also to <file>.errors.jsonl")
    .option("-m, --model <provider:model>", "model of the rows that name none (default: DEFAULT_MODEL)")
    .option("--concurrency <n>", "calls at a time per worker process and model", integer(1, 10_000))
    .option(
      "--workers <n>",
      "worker processes of this run; 0: the running fleet does the work",
      integer(0, 64),
      1,
    )
    .option("--prompt-field <name>", "take the prompt from this field, such as question")
    .addOption(
      new Option("--input-format <format>", "how IN holds its rows (default: found by its content)").choices(
        INPUT_FORMATS,
      ),
    )
    .addOption(
      new Option("--format <vendor>", "whose lines OUT has").choices(OUTPUT_FORMATS).default("openai"),
    )
    .option("--limit <rows>", "only the first rows", integer(1))
    .option("--strict", "stop at the first malformed line instead of failing that row")
    .option("--retry-failed", "send the rows again that failed in an earlier run")
    .option(
      "--max-cost <usd>",
      "stop before the call that could make all runs cost more; quote:p90: what `batch quote` said",
      costLimit,
    )
    .addOption(
      new Option(
        "--on-unknown <what>",
        "rows of which nobody can tell whether a provider batch has them, when --by is near; without it at once (default: wait)",
      ).choices(["wait", "buy"]),
    )
    .option("--timeout <seconds>", "longest provider call (default: CALL_TIMEOUT_MS, else 120)", number(0.1))
    .option("--guardrail <name>", "a rule on its rows, which workers have (repeatable)", collect)
    .option("--cache", CACHE_HELP)
    .option("--no-cache", NO_CACHE_HELP)
    .option(...REMOTE)
    .option("--window <hours>", "with --remote: in which it has to end", "24h")
    .option("--report <file>", "write counts, tokens, cost and latencies as JSON")
    .addHelpText(
      "after",
      "\nThe same command again continues after a crash; rows that have a result are not sent again.",
    )
    .action(async (inputPath: string, options: Record<string, unknown>, command: Command) => {
      const settings = loadSettings();
      const logger = loggerOf(settings, "error");
      refuseMisplaced(command, options.remote !== undefined);
      if (options.remote !== undefined) {
        const interruption = onInterruption(undefined);
        const batches = await remoteBatches(options.remote as string);
        const submission = { window: options.window as string, by: options.by as string | undefined };
        process.exitCode = await batches.run(inputPath, options.output as string, submission, interruption);
        interruption.release();
        return;
      }
      const interruption = onInterruption(process.stderr.isTTY ? undefined : STOPPING);
      const run: BatchRunOptions = {
        inputPath,
        outputPath: options.output as string,
        model: options.model as string | undefined,
        inputFormat: options.inputFormat as BatchRunOptions["inputFormat"],
        format: options.format as BatchRunOptions["format"],
        promptField: options.promptField as string | undefined,
        limitRows: options.limit as number | undefined,
        strict: options.strict as boolean | undefined,
        retryFailed: options.retryFailed as boolean | undefined,
        concurrency: options.concurrency as number | undefined,
        workers: options.workers as number,
        maxCostUsd: maxCostOf(inputPath, options, settings),
        lanes: readLanes(options),
        onUnknown: options.onUnknown as BatchRunOptions["onUnknown"],
        guardrails: options.guardrail as string[] | undefined,
        cache: options.cache as boolean | undefined,
        timeoutMs: options.timeout === undefined ? undefined : Math.round(1000 * (options.timeout as number)),
        ...readWireOptions(options as WireFlags),
        reportPath: options.report as string | undefined,
        resumeCommand: ownCommand(),
      };
      process.exitCode = await runBatchCommand(run, settings, logger, interruption);
      interruption.release();
    });
  addQuoteCommand(batch);
  batch
    .command("submit")
    .description("Upload a file of OpenAI batch lines to an API and run it there; prints the batch's id.")
    .argument("<input>")
    .requiredOption(...REMOTE)
    .option("--window <hours>", "in which it has to end", "24h")
    .option("--by <when>", BY_HELP)
    .option("--endpoint <path>", "whose lines they are (default: that of the first)")
    .option("--metadata <name=value>", "kept with the batch (repeatable)", collect)
    .action(async (inputPath: string, { remote, metadata, ...submission }: SubmitOptions) => {
      const pairs = metadata && namedValues(metadata);
      const id = await (await remoteBatches(remote)).submit(inputPath, { ...submission, metadata: pairs });
      process.stdout.write(`${id}\n`);
    });
  batch
    .command("download")
    .description("Write the results of a batch of an API that has ended.")
    .argument("<id>")
    .requiredOption(...REMOTE)
    .requiredOption("-o, --output <file>", "what succeeded; failed rows go to <file>.errors.jsonl")
    .action(async (id: string, { remote, output }: { remote: string; output: string }) => {
      process.exitCode = await (await remoteBatches(remote)).download(id, output);
    });
  batch
    .command("list")
    .description("The newest batches, newest first.")
    .option("--limit <n>", "how many", integer(1, 1000), 20)
    .option(...REMOTE)
    .action((options: { limit: number; remote?: string }) =>
      at(
        options.remote,
        (batches) => batches.list(options.limit),
        async ({ store }) => {
          const batches = await listBatches(store, options.limit);
          if (batches.length === 0) return "no batches in the last 30 days";
          const heading = ["ID", "STATUS", "DONE", "FAILED", "TOTAL", "CREATED", "OUTPUT"];
          return table([heading, ...batches.map(batchRow)]);
        },
      ),
    );
  batch
    .command("status")
    .description("Everything known of one batch, as JSON.")
    .argument("<id>")
    .option(...REMOTE)
    .action((id: string, { remote }: { remote?: string }) =>
      at(
        remote,
        (batches) => batches.status(id),
        async ({ store }) => jsonText(await viewBatch(store, id)),
      ),
    );
  batch
    .command("cancel")
    .description("Withdraw a batch's waiting rows; calls in flight finish and their results are kept.")
    .argument("<id>")
    .option(...REMOTE)
    .action((id: string, { remote }: { remote?: string }) =>
      at(
        remote,
        (batches) => batches.cancel(id),
        async ({ store }) => {
          if ((await cancelServedBatch(store, id)) === "cancelling") return `batch ${id} is cancelling`;
          const { status, isNew } = await cancelBatch(store, id);
          return `batch ${id} is ${status}${isNew ? "" : " already"}`;
        },
      ),
    );
}

/** What an API is told of a batch; all else of `batch run` says how this machine does the work. */
const REMOTE_OPTIONS = ["output", "remote", "window", "by"];

/** @throws InputError for options that would do nothing: a limit that is not kept is worse than none */
function refuseMisplaced(command: Command, isRemote: boolean): void {
  const given = command.options.filter((option) => {
    const name = option.attributeName();
    // `--cache` and `--no-cache` are one attribute.
    const isNegated = command.getOptionValue(name) === false;
    return command.getOptionValueSource(name) === "cli" && option.negate === isNegated;
  });
  const wrong = isRemote
    ? given.filter((option) => !REMOTE_OPTIONS.includes(option.attributeName()))
    : given.filter((option) => option.attributeName() === "window");
  if (wrong.length === 0) return;
  const names = wrong.map(({ long }) => long).join(", ");
  if (!isRemote) throw new InputError(`${names} is for --remote alone`, "leave it out, or add --remote");
  throw new InputError(
    `with --remote, ${names} would do nothing: the API's workers do the work`,
    "leave it out; limits of cost are set for the key or the tenant there",
  );
}

type SubmitOptions = Omit<Submission, "metadata"> & { remote: string; metadata?: string[] };

/** The batches of an API elsewhere, or those of this Redis. */
async function at(
  remote: string | undefined,
  there: (batches: RemoteBatches) => Promise<string>,
  here: (host: RedisHost) => Promise<string>,
): Promise<void> {
  if (remote === undefined) return withRedis(here);
  process.stdout.write(`${await there(await remoteBatches(remote))}\n`);
}

async function remoteBatches(url: string): Promise<RemoteBatches> {
  const { RemoteBatches } = await import("./remote-batch.ts");
  return new RemoteBatches(url, loadSettings());
}

async function withRedis(action: (host: RedisHost) => Promise<string>): Promise<void> {
  const settings = loadSettings();
  const logger = loggerOf(settings, "warn");
  await using host = await openRedis(settings, logger);
  process.stdout.write(`${await action(host)}\n`);
}

function batchRow(batch: BatchRecord): string[] {
  const { id, status, succeeded, failed, total, createdAt, output } = batch;
  const created = new Date(createdAt).toISOString().slice(0, 16).replace("T", " ");
  const interrupted = batch.stop && status === "in_progress" ? " (interrupted)" : "";
  return [id, status + interrupted, String(succeeded), String(failed), String(total), created, output];
}
