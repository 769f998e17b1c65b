import type { Command } from "commander";
import { loadModules } from "../host/load-modules.ts";
import { count, counted } from "../shared/counted.ts";
import { InputError, JobLostError } from "../shared/errors.ts";
import { isObject } from "../shared/json.ts";
import { usd } from "../shared/usd.ts";
import type { ForkOptions } from "../workflows/fork.ts";
import type { RunStatus } from "../workflows/run-status.ts";
import { integer } from "./options.ts";
import { jsonText, printable } from "./output.ts";
import { StepReader } from "./read-steps.ts";
import { addSelectionOptions, type SelectionOptions, selectionOf, selectionText } from "./run-options.ts";
import { durationText, stepTree } from "./step-tree.ts";
import { addChangeCommands } from "./workflow-change.ts";
import { withClient, withRun } from "./workflow-client.ts";
import { addDevCommand } from "./workflow-dev.ts";
import { parseJson } from "./workflow-input.ts";
import { showCards, showRuns, showVersions, workflowCards } from "./workflow-list.ts";
import { addReplayCommand } from "./workflow-replay.ts";
import { addWorkflowRunCommand, MODULE_OPTION, unknownWorkflow } from "./workflow-run.ts";

const JSON_OPTION = ["--json", "as JSON"] as const;
const RUN_ID = ["<id>", "the run's id"] as const;

/** `gluellm workflow run|list|versions|status|steps|cancel|signal|retry|fork`. */
export function addWorkflowCommands(program: Command): void {
  const workflow = program.command("workflow").description("Durable workflows: start, follow, answer, fork.");
  addWorkflowRunCommand(workflow);
  const list = workflow
    .command("list")
    .description("The workflows one can start, with their options; with --runs what was started.")
    .argument("[name...]", "only these")
    .option(...MODULE_OPTION)
    .option("--runs", "the latest runs, newest first")
    .option("--cursor <cursor>", "the next page of runs, as the page before said")
    .option("--limit <n>", "how many runs", integer(1, 1000), 20)
    .option(...JSON_OPTION);
  addSelectionOptions(list).action((names: string[], options: ListOptions) =>
    options.runs ? listRuns(names, options) : listWorkflows(names, options),
  );
  workflow
    .command("versions")
    .description(
      "Which worker processes can run which versions of which workflows, and which activities, now.",
    )
    .option(...JSON_OPTION)
    .action(({ json }: Shown) =>
      withClient(async ({ workflows }) => {
        const [versions, activities] = await Promise.all([workflows.versions(), workflows.activities()]);
        return json ? jsonText([...versions, ...activities]) : showVersions(versions, activities);
      }),
    );
  workflow
    .command("status")
    .description("Where a run stands.")
    .argument(...RUN_ID)
    .option(...JSON_OPTION)
    .action((id: string, { json }: Shown) =>
      withRun(id, async (run) => {
        const status = await run.status();
        return json ? jsonText(status) : showStatus(status);
      }),
    );
  workflow
    .command("steps")
    .description("A run's steps as a tree.")
    .argument(...RUN_ID)
    .option(...JSON_OPTION)
    .action((id: string, { json }: Shown) =>
      withRun(id, async (_run, client) => {
        const steps = await new StepReader(client).read(id);
        return json ? jsonText(steps) : stepTree(steps, { now: Date.now() }).join("\n");
      }),
    );
  addChangeCommands(workflow);
  addReplayCommand(workflow);
  addDevCommand(workflow);
  workflow
    .command("fork")
    .description("A new run that takes over what came before a step, without paying for it again.")
    .argument(...RUN_ID)
    .requiredOption("--from-step <step>", "the first step to run again, as gluellm workflow steps names it")
    .option("--changes <json>", '{"input": …, "results": {"<earlier step>": …}}')
    .option("--run-id <id>", "of the new run (default: a new one)")
    .option(...JSON_OPTION)
    .action((id: string, options: Shown & { fromStep: string; changes?: string; runId?: string }) =>
      withRun(id, async (run) => {
        const { fromStep, changes, runId, json } = options;
        const fork = await run.fork({ fromStep, changes: changesIn(changes), runId });
        return json ? jsonText({ id: fork.id }) : fork.id;
      }),
    );
}

interface Shown {
  json?: boolean;
}

interface ListOptions extends Shown, SelectionOptions {
  module?: string[];
  runs?: boolean;
  limit: number;
  cursor?: string;
}

async function listWorkflows(names: readonly string[], { module = [], json }: ListOptions): Promise<void> {
  const { workflows } = await loadModules(module);
  const cards = workflowCards(workflows);
  const unknown = names.find((name) => cards.every((card) => card.name !== name));
  if (unknown !== undefined) {
    throw unknownWorkflow(
      unknown,
      cards.map(({ name }) => name),
    );
  }
  const chosen = names.length === 0 ? cards : cards.filter(({ name }) => names.includes(name));
  process.stdout.write(`${json ? jsonText(chosen) : showCards(chosen)}\n`);
}

function listRuns(names: readonly string[], options: ListOptions): Promise<void> {
  return withClient(async ({ workflows }) => {
    const { limit, json, cursor } = options;
    const [workflow] = names.length === 1 ? names : [];
    const selection = selectionOf(options) ?? {};
    const runs = await workflows.list({
      limit,
      cursor,
      ...selection,
      workflow: selection.workflow ?? workflow,
    });
    if (runs.cursor !== undefined && !json) process.stderr.write(`more: --cursor ${runs.cursor}\n`);
    const found = await Promise.all(
      runs.map((run) =>
        run.status().catch((error: unknown) => {
          // It expired after it was listed.
          if (error instanceof JobLostError) return undefined;
          throw error;
        }),
      ),
    );
    const statuses = found.filter((status) => status !== undefined);
    const chosen = statuses.filter(({ workflow }) => names.length === 0 || names.includes(workflow));
    if (json || chosen.length > 0) return json ? jsonText(chosen) : showRuns(chosen);
    const said = selectionText({ workflow, ...selection });
    return said ? `no run of the last 30 days fits ${said}` : "no runs in the last 30 days";
  });
}

function changesIn(json: string | undefined): ForkOptions["changes"] {
  if (json === undefined) return undefined;
  const changes = parseJson(json, "--changes");
  const wrong = isObject(changes) && Object.keys(changes).find((key) => key !== "input" && key !== "results");
  if (
    isObject(changes) &&
    wrong === undefined &&
    (changes.results === undefined || isObject(changes.results))
  ) {
    return changes;
  }
  throw new InputError(
    `--changes is wrong${wrong ? ` at ${wrong}` : ""}`,
    'give {"input": …} for another input, {"results": {"step": …}} for what earlier steps are to have brought',
  );
}

function showStatus(status: RunStatus): string {
  const { id, workflow, version, state, waitsFor, createdAt, finishedAt, tokensUsed, costUsd, unpriced } =
    status;
  const { metadata, error, continued, chain } = status;
  const latest = chain.at(-1)?.finishedAt.toISOString();
  const facts: [string, string][] = [
    ["run", id],
    ["workflow", `${workflow}${version > 1 ? ` version ${version}` : ""}`],
    [
      "state",
      `${state} ${finishedAt ? "after" : "for"} ${durationText((finishedAt ?? new Date()).getTime() - createdAt.getTime())}`,
    ],
    [
      "tokens",
      `${count(tokensUsed.total)} (prompt ${count(tokensUsed.prompt)}, completion ${count(tokensUsed.completion)})`,
    ],
    [
      "cost",
      `${usd(costUsd)}${unpriced > 0 ? ` and ${counted(unpriced, "call")} without a known price` : ""}`,
    ],
    ...waitsFor.map((reason): [string, string] => ["waits for", reason]),
    ...(error ? [["error", `${error.code}: ${error.message}`] as [string, string]] : []),
    ...(continued > 0 ? [["continued", `${continued} times, last at ${latest}`] as [string, string]] : []),
    ...Object.entries(metadata).map(([key, value]): [string, string] => [key, JSON.stringify(value)]),
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, text]) => `${printable(name).padEnd(width)}  ${printable(text)}`).join("\n");
}
