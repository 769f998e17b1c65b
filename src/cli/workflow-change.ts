import type { Command } from "commander";
import type { BulkOptions, BulkReport } from "../client/bulk-change.ts";
import type { RunSelection } from "../client/run-selection.ts";
import type { Workflows } from "../client/workflows.ts";
import { count, counted } from "../shared/counted.ts";
import { InputError } from "../shared/errors.ts";
import type { JsonSchema } from "../shared/json-schema.ts";
import { EXIT, onInterruption } from "./exit.ts";
import { inputFields, typeText } from "./input-shape.ts";
import { integer, table } from "./options.ts";
import { jsonText, printable } from "./output.ts";
import { ownCommand } from "./own-command.ts";
import { addSelectionOptions, type SelectionOptions, selectionOf, selectionText } from "./run-options.ts";
import { withClient, withRun } from "./workflow-client.ts";
import { parseJson } from "./workflow-input.ts";

interface ChangeOptions extends SelectionOptions {
  dryRun?: boolean;
  concurrency: number;
  json?: boolean;
}

interface SignalOptions extends ChangeOptions {
  dedupeId?: string;
}

const STOPPING = "stopping: runs under way are finished (again to exit now)";
const MAX_SHOWN_FAILURES = 20;

/** `gluellm workflow cancel|retry|signal`: of one run by its id, of many by what they have in common. */
export function addChangeCommands(workflow: Command): void {
  addBulkOptions(
    workflow
      .command("cancel")
      .description(
        "End a run, or all running runs that fit: their steps and child runs, calls in flight too.",
      )
      .argument("[id]", "the run's id"),
  ).action((id: string | undefined, options: ChangeOptions) => {
    if (id === undefined) {
      return changeMany("cancelled", options, ({ runs, selection, bulk }) =>
        runs.cancelRuns(selection, bulk),
      );
    }
    refuseSelection(options);
    return withRun(id, async (run) => {
      const isCancelled = await run.cancel();
      if (options.json) return jsonText({ id, cancelled: isCancelled });
      return isCancelled ? `run ${id} is cancelled` : `run ${id} had ended: ${(await run.status()).state}`;
    });
  });
  addBulkOptions(
    workflow
      .command("retry")
      .description(
        "Let a failed run go on in place from the step that it failed with, or all failed runs that fit.",
      )
      .argument("[id]", "the run's id"),
  ).action((id: string | undefined, options: ChangeOptions) => {
    if (id === undefined) {
      return changeMany("retried", options, ({ runs, selection, bulk }) => runs.retryRuns(selection, bulk));
    }
    refuseSelection(options);
    return withRun(id, async (run) => {
      await run.retry();
      return options.json ? jsonText({ id, retried: true }) : `run ${id} goes on`;
    });
  });
  workflow
    .command("signals")
    .description("The signals that a run takes, and which of them it waits for.")
    .argument("<id>", "the run's id")
    .option("--json", "as JSON, with their JSON Schemas")
    .action(showSignals);
  addBulkOptions(
    workflow
      .command("signal")
      .usage("<id> <name> [json]  or  <name> [json] --workflow … [--dry-run]")
      .description("Answer a run that waits for a signal, or will; or all running runs that fit.")
      .argument(
        "[words...]",
        "the run's id unless options choose runs, the signal's name, what it brings as JSON",
      ),
  )
    .option("--dedupe-id <id>", "a second signal with it changes nothing")
    .action(signal);
}

async function showSignals(id: string, { json = false }: { json?: boolean }): Promise<void> {
  await withRun(id, async (run) => {
    const signals = await run.signals();
    if (json) return jsonText(signals);
    if (signals.length === 0) return "it waits for no signal, and its workflow declares none";
    const rows = signals.map(({ name, isWaiting, schema = {} }) => [
      ...[name, isWaiting ? "yes" : "", shapeText(schema)],
    ]);
    return table([["SIGNAL", "WAITS", "TAKES"], ...rows]);
  });
}

function shapeText(shape: JsonSchema): string {
  const fields = inputFields(shape);
  if (fields.length === 0) return typeText(shape);
  return fields.map(({ name, type, isRequired }) => `${name}${isRequired ? "" : "?"}: ${type}`).join(", ");
}

function signal(words: string[], options: SignalOptions): Promise<void> {
  const { dedupeId, json } = options;
  const isBulk = selectionOf(options) !== undefined;
  const [id = "", name, data, ...more] = isBulk ? ["", ...words] : words;
  if (name === undefined || more.length > 0) {
    throw new InputError(
      isBulk ? "give the signal's name, and what it brings" : "give the run's id and the signal's name",
      "gluellm workflow signal --help",
    );
  }
  const value = data === undefined ? undefined : parseJson(data, "the signal");
  if (isBulk) {
    return changeMany("signalled", options, ({ runs, selection, bulk }) =>
      runs.signalRuns(selection, name, value, { ...bulk, dedupeId }),
    );
  }
  refuseSelection(options);
  return withRun(id, async (run) => {
    await run.signal(name, value, { dedupeId });
    return json ? jsonText({ id, signal: name }) : `run ${id} has signal ${name}`;
  });
}

function addBulkOptions(command: Command): Command {
  return addSelectionOptions(command)
    .option("--dry-run", "only count the runs that fit, and name some")
    .option("--concurrency <n>", "runs that are changed at a time", integer(1, 1000), 20)
    .option("--json", "as JSON");
}

/** An id stands for one run: what else was said of it would be passed over. */
function refuseSelection(options: ChangeOptions): void {
  if (selectionOf(options) === undefined && !options.dryRun) return;
  throw new InputError("give a run's id, or options that choose runs, not both");
}

type Change = (of: { runs: Workflows; selection: RunSelection; bulk: BulkOptions }) => Promise<BulkReport>;

function changeMany(done: string, options: ChangeOptions, change: Change): Promise<void> {
  const selection = selectionOf(options);
  if (!selection) {
    throw new InputError(
      "give a run's id, or options that choose runs",
      "such as --workflow NAME, --tag TAG, --state STATE, --from TIME; --dry-run first shows which they are",
    );
  }
  return withClient(async ({ workflows }) => {
    const { dryRun, concurrency, json } = options;
    const interruption = onInterruption(STOPPING);
    const bulk = { dryRun: dryRun ?? false, concurrency, signal: interruption.signal };
    const report = await change({ runs: workflows, selection, bulk });
    interruption.release();
    if (report.matched === 0) {
      throw new InputError(
        `no run fits ${selectionText(selection)} and can be ${done}`,
        "gluellm workflow list --runs shows the runs and their states",
      );
    }
    process.exitCode = interruption.exitCode ?? (report.failed > 0 ? EXIT.rowsFailed : EXIT.ok);
    return json ? jsonText(report) : showReport(report, done, dryRun ?? false);
  });
}

function showReport(report: BulkReport, done: string, isDry: boolean): string {
  const { matched, changed, unchanged, failed, failures, examples, isComplete, dedupeId } = report;
  if (isDry) {
    const shown = examples.map(
      ({ id, workflow, state, startedAt }) =>
        `  ${id}  ${workflow}  ${state}  ${new Date(startedAt).toISOString()}`,
    );
    const more = matched > shown.length ? [`  … ${count(matched - shown.length)} more`] : [];
    const sum = `${counted(matched, "run")} would be ${done}; nothing was changed`;
    return [sum, ...shown.map(printable), ...more].join("\n");
  }
  const parts = [
    `${count(changed)} ${done}`,
    ...(unchanged > 0 ? [`${count(unchanged)} had ended before`] : []),
    ...(failed > 0 ? [`${count(failed)} failed`] : []),
  ];
  const shown = failures
    .slice(0, MAX_SHOWN_FAILURES)
    .map(({ id, code, message }) => `  ${id}  ${code}: ${message}`);
  const more = failed > shown.length ? [`  … ${count(failed - shown.length)} more; --json has them`] : [];
  const again = dedupeId && !process.argv.includes("--dedupe-id") ? ["--dedupe-id", dedupeId] : [];
  const goOn =
    isComplete && failed === 0 ? [] : [`the same again goes on where this ended: ${ownCommand(...again)}`];
  return [parts.join(", "), ...shown.map(printable), ...more, ...goOn].join("\n");
}
