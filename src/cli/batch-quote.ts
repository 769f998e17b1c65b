import { type Command, Option } from "commander";
import { INPUT_FORMATS } from "../batch/batch-run.ts";
import type { Range } from "../batch/quote/draws.ts";
import type { BatchQuote, LaneQuote } from "../batch/quote/quote.ts";
import { type QuoteOptions, quoteBatch, SAMPLE_ROWS } from "../batch/quote/quote-batch.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { count, counted } from "../shared/counted.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { usd } from "../shared/usd.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis, type RedisHost, startWorker } from "./compose.ts";
import { EXIT, type Interruption, onInterruption, STOPPING } from "./exit.ts";
import { addLaneOptions, readLanes } from "./lane-options.ts";
import { integer, number, table } from "./options.ts";
import { jsonText } from "./output.ts";
import { duration } from "./progress/figures.ts";
import { addWireOptions, readWireOptions, type WireFlags } from "./wire-options.ts";

/** Adds `gluellm batch quote`. */
export function addQuoteCommand(batch: Command): void {
  const command = addWireOptions(batch.command("quote"))
    .description(
      "Ask a sample of the rows of IN and say what all of them may cost and take; the sample is not paid again by `batch run`.",
    )
    .argument("<input>", "as of `batch run`")
    .option(
      "-o, --output <file>",
      "that of the batch (default: the first `batch run` of IN with this model finds it)",
    )
    .option("-m, --model <provider:model>", "model of the rows that name none (default: DEFAULT_MODEL)")
    .option("--sample <rows>", "how many rows are asked", integer(2, 10_000), SAMPLE_ROWS)
    .option("--seed <n>", "another one draws other rows", integer(0), 1)
    .option("--concurrency <n>", "calls at a time per worker process and model", integer(1, 10_000))
    .option(
      "--workers <n>",
      "worker processes of the run to be; 0: the running fleet asks the sample",
      integer(0, 64),
      1,
    )
    .option("--prompt-field <name>", "take the prompt from this field, such as question")
    .addOption(new Option("--input-format <format>", "how IN holds its rows").choices(INPUT_FORMATS))
    .option("--limit <rows>", "only the first rows", integer(1))
    .option("--max-cost <usd>", "stop before the call that could make the sample cost more", number(1e-9))
    .option("--timeout <seconds>", "longest provider call (default: CALL_TIMEOUT_MS, else 120)", number(0.1))
    .option("--json", "print the quote as JSON");
  addLaneOptions(command).action(async (inputPath: string, options: Record<string, unknown>) => {
    const settings = loadSettings();
    const interruption = onInterruption(STOPPING);
    const concurrency = options.concurrency as number | undefined;
    const workers = options.workers as number;
    const asked: QuoteOptions = {
      inputPath,
      outputPath: options.output as string | undefined,
      model: options.model as string | undefined,
      inputFormat: options.inputFormat as QuoteOptions["inputFormat"],
      promptField: options.promptField as string | undefined,
      limitRows: options.limit as number | undefined,
      maxCostUsd: options.maxCost as number | undefined,
      timeoutMs: options.timeout === undefined ? undefined : Math.round(1000 * (options.timeout as number)),
      ...readWireOptions(options as WireFlags),
      lanes: readLanes(options),
      sampleRows: options.sample as number,
      seed: options.seed as number,
      ...(concurrency !== undefined && { callsAtATime: concurrency * Math.max(1, workers) }),
    };
    const quote = await ask(asked, { settings, interruption, workers, concurrency });
    if (quote) process.stdout.write(`${options.json ? jsonText(quote) : quoteText(quote)}\n`);
    else process.exitCode = interruption.exitCode ?? EXIT.sigint;
    interruption.release();
  });
}

interface Site {
  settings: Settings;
  interruption: Interruption;
  workers: number;
  concurrency: number | undefined;
}

/** Asks the sample with a worker of this process. */
async function ask(
  options: QuoteOptions,
  { settings, interruption, workers, concurrency }: Site,
): Promise<BatchQuote | undefined> {
  const logger = loggerOf(settings, "error");
  await using parts = new CloseStack();
  let host: RedisHost | undefined;
  const openHost = async () => {
    host ??= parts.use(await openRedis(settings, logger));
    return host;
  };
  const openStore = async () => (await openHost()).store;
  const context = { settings, logger, keyNeeded: workers !== 0, costLimitName: "--max-cost", openStore };
  return await quoteBatch(options, context, async (run) => {
    const stop = () => run.stop();
    interruption.signal.addEventListener("abort", stop);
    if (interruption.signal.aborted) stop();
    if (run.isComplete || workers === 0) return;
    const queueGlobs = run.models.map(completionQueueName);
    const store = await openStore();
    const worker = await startWorker({ store, settings, logger, queueGlobs, concurrency });
    parts.defer(() => worker.close());
  });
}

/** The lines a person reads. */
function quoteText({ rows, tokens, spentUsd, lanes, by }: BatchQuote): string {
  const failed = rows.failed > 0 ? `, ${rows.failed} of which failed` : "";
  const spent = spentUsd === null ? "" : `; spent so far: ${usd(spentUsd)}`;
  const lines = [
    `${counted(rows.total, "row")}, ${count(rows.left)} to go; a sample of ${count(rows.sampled)} was asked${failed}${spent}`,
    `tokens: prompt ${count(tokens.prompt)}, completion ${count(tokens.completion.p10)} to ${count(tokens.completion.p90)}`,
  ];
  const ways: [string, LaneQuote | undefined][] = [
    ["online", lanes.online],
    ["flex", lanes.flex],
    ["provider batches", lanes.batch],
    [`by ${by ? new Date(by.atMs).toISOString() : ""}`, by],
  ];
  const heading = ["ALL ROWS", "COST P10", "P50", "P90", "TIME P10", "P50", "P90"];
  const rowsOf = ways.flatMap(([name, way]) =>
    way ? [[name, ...points(way.costUsd, usd), ...points(way.durationMs, time)]] : [],
  );
  lines.push("", table([heading, ...rowsOf]));
  if (by) lines.push("", `in time with a chance of ${Math.round(100 * by.chance)} %`);
  if (spentUsd === null)
    lines.push("", "no price is known for a model (GLUELLM_PRICES sets one): no cost is told");
  return lines.join("\n");
}

function points(range: Range | null, text: (value: number) => string): string[] {
  return range ? [text(range.p10), text(range.p50), text(range.p90)] : ["–", "–", "–"];
}

function time(ms: number): string {
  return duration(Math.ceil(ms / 1000));
}
