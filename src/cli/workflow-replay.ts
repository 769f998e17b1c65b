import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { checkSelection, type RunSelection } from "../client/run-selection.ts";
import { loadWorkflows } from "../host/load-modules.ts";
import { count, counted } from "../shared/counted.ts";
import { InputError } from "../shared/errors.ts";
import { createLogger } from "../shared/logger.ts";
import { loadSettings } from "../shared/settings.ts";
import { listRuns } from "../store/run-list.ts";
import { parseRunSnapshot, type RunSnapshot, readRunSnapshot } from "../store/run-snapshot.ts";
import type { Store } from "../store/store.ts";
import { type Replay, replayRun } from "../workflows/replay-run.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { openRedis } from "./compose.ts";
import { EXIT } from "./exit.ts";
import { integer } from "./options.ts";
import { jsonText, printable } from "./output.ts";

interface ReplayCommandOptions {
  runs?: string;
  limit: number;
  export?: string;
  from?: string;
  json?: boolean;
}

interface ReplayReport {
  fits: number;
  differs: { id: string; workflow: string; step: string | undefined; message: string }[];
  skipped: { id: string; workflow: string; reason: string }[];
}

const PAGE = 500;
const FILTER_HINT = "such as workflow=article,state=running, or the ids of runs: run-1,run-2";

/** `gluellm workflow replay`. */
export function addReplayCommand(workflow: Command): void {
  workflow
    .command("replay")
    .description(
      "Give what runs have recorded to a module's present code, and say where it differs. Nothing is called or written.",
    )
    .argument("<module>", "a module that exports workflows")
    .option(
      "--runs <filter>",
      "which: workflow=…, version=…, state=…, tag=…, from=…, to=…, with commas in between; or ids (default: all of the module's workflows)",
    )
    .option("--limit <n>", "how many, the latest first", integer(1, 1_000_000), 1000)
    .option("--export <dir>", "also write each run into a file there, prompts and answers included")
    .option("--from <dir>", "runs that --export has written, in place of those in Redis")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      "\nExit code 0: the code fits all runs; 1: it differs, and the runs and steps are named.",
    )
    .action(replay);
}

async function replay(module: string, options: ReplayCommandOptions): Promise<void> {
  const settings = loadSettings();
  const logger = createLogger({ ...settings.log, level: "silent" });
  const modules = await loadWorkflows([module]);
  const workflows = new Map(modules.workflows.map((workflow) => [workflow.name, workflow]));
  const { ids, selection } = readFilter(options.runs);
  await using host =
    options.from === undefined
      ? await openRedis(settings, logger, undefined, { triesWrites: false })
      : undefined;
  const found = host
    ? storedRuns(host.store, { ids, selection, workflows, limit: options.limit })
    : runsInFiles(options.from ?? "", { ids, selection, workflows, limit: options.limit });
  const report: ReplayReport = { fits: 0, differs: [], skipped: [] };
  for await (const snapshot of found) {
    const { id, record } = snapshot;
    const name = record.workflow ?? "";
    const present = workflows.get(name);
    const outcome: Replay = present
      ? await replayRun(snapshot, present, { settings, logger })
      : { kind: "skipped", reason: `the module has no workflow "${name}"` };
    if (options.export !== undefined) writeSnapshot(options.export, snapshot);
    note(report, { id, workflow: name }, outcome);
  }
  if (report.fits + report.differs.length + report.skipped.length === 0) {
    const which = options.runs ?? `the workflows ${[...workflows.keys()].join(", ")}`;
    throw new InputError(`no run fits ${which}`, "gluellm workflow list --runs shows the runs there are");
  }
  if (report.differs.length > 0) process.exitCode = EXIT.rowsFailed;
  process.stdout.write(`${options.json ? jsonText(report) : showReport(report)}\n`);
}

interface Wanted {
  ids: readonly string[];
  selection: RunSelection;
  workflows: ReadonlyMap<string, AnyWorkflow>;
  limit: number;
}

async function* storedRuns(
  store: Store,
  { ids, selection, workflows, limit }: Wanted,
): AsyncGenerator<RunSnapshot> {
  for (const id of ids) {
    const snapshot = await readRunSnapshot(store, id);
    if (!snapshot)
      throw new InputError(`no run ${id}`, "gluellm workflow list --runs shows the runs there are");
    yield snapshot;
  }
  if (ids.length > 0) return;
  let left = limit;
  let cursor: string | undefined;
  do {
    const page = await listRuns(store, checkSelection(selection), PAGE, cursor);
    for (const { id, workflow } of page.runs) {
      if (left === 0) return;
      // Other services' runs are none of the module's business, unless they were asked for.
      if (!workflows.has(workflow) && selection.workflow === undefined) continue;
      // It may have expired since it was listed.
      const snapshot = await readRunSnapshot(store, id);
      if (!snapshot) continue;
      left -= 1;
      yield snapshot;
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
}

function* runsInFiles(dir: string, { ids, selection, workflows, limit }: Wanted): Generator<RunSnapshot> {
  const filter = checkSelection(selection);
  let left = limit;
  for (const name of filesIn(dir)) {
    const snapshot = parseRunSnapshot(readFileSync(join(dir, name), "utf8"), `the file ${join(dir, name)}`);
    const { workflow = "", version, status, tags = "[]", createdAt } = snapshot.record;
    const at = Number(createdAt);
    const isWanted =
      (ids.length === 0 || ids.includes(snapshot.id)) &&
      (filter.workflow === undefined
        ? workflows.has(workflow) || ids.length > 0
        : filter.workflow === workflow) &&
      (filter.version === undefined || filter.version === Number(version)) &&
      (filter.state === undefined || filter.state === status) &&
      (filter.tag === undefined || (JSON.parse(tags) as string[]).includes(filter.tag)) &&
      at >= (filter.from ?? Number.NEGATIVE_INFINITY) &&
      at < (filter.to ?? Number.POSITIVE_INFINITY);
    if (!isWanted) continue;
    if (left === 0) return;
    left -= 1;
    yield snapshot;
  }
}

function filesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith(".json"))
      .sort();
  } catch (error) {
    throw new InputError(`the folder ${dir} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function writeSnapshot(dir: string, snapshot: RunSnapshot): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, `${snapshot.id}.json`), JSON.stringify(snapshot), { mode: 0o600 });
  } catch (error) {
    throw new InputError(`the folder ${dir} cannot be written: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** `workflow=article,state=running`, or ids. @throws InputError */
function readFilter(text: string | undefined): { ids: string[]; selection: RunSelection } {
  const ids: string[] = [];
  const selection: Record<string, unknown> = {};
  for (const part of text?.split(",").map((word) => word.trim()) ?? []) {
    const end = part.indexOf("=");
    const [name, value] = [part.slice(0, end), part.slice(end + 1)];
    if (part === "") throw new InputError("--runs has an empty part", FILTER_HINT);
    if (end < 0) ids.push(part);
    else selection[name] = name === "version" ? Number(value) : isTime(name) ? new Date(value) : value;
  }
  if (ids.length > 0 && Object.keys(selection).length > 0) {
    throw new InputError("--runs has ids and what runs have in common, which cannot be mixed", FILTER_HINT);
  }
  checkSelection(selection);
  return { ids, selection };
}

function isTime(name: string): boolean {
  return name === "from" || name === "to";
}

function note(report: ReplayReport, run: { id: string; workflow: string }, outcome: Replay): void {
  if (outcome.kind === "fits") report.fits += 1;
  if (outcome.kind === "differs")
    report.differs.push({ ...run, step: outcome.step, message: outcome.message });
  if (outcome.kind === "skipped") report.skipped.push({ ...run, reason: outcome.reason });
}

function showReport({ fits, differs, skipped }: ReplayReport): string {
  const lines = [
    ...differs.map(
      ({ id, workflow, step, message }) => `✗ ${[id, workflow, step, message].filter(Boolean).join("  ")}`,
    ),
    ...skipped.map(({ id, workflow, reason }) => `– ${id}  ${workflow}  skipped: ${reason}`),
  ];
  const parts = [
    `${count(fits)} fit`,
    ...(differs.length > 0 ? [`${count(differs.length)} differ`] : []),
    ...(skipped.length > 0 ? [`${count(skipped.length)} skipped`] : []),
  ];
  const all = fits + differs.length + skipped.length;
  return [...lines.map(printable), `${counted(all, "run")}: ${parts.join(", ")}`].join("\n");
}
