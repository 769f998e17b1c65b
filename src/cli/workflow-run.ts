import { type Command, Option } from "commander";
import { chooseModels } from "../calls/model-chain.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import type { WorkflowHandle } from "../client/workflow-handle.ts";
import { type Definitions, loadModules } from "../host/load-modules.ts";
import { PATTERNS } from "../patterns/all.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import { isObject } from "../shared/json.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { describeError, EXIT, exitCodeOf, onInterruption } from "./exit.ts";
import { followRun } from "./follow-run.ts";
import { collect, integer, number } from "./options.ts";
import { jsonText, print } from "./output.ts";
import { ownCommand, programName } from "./own-command.ts";
import { addProviderOptions, readWireOptions, type WireFlags } from "./wire-options.ts";
import { checkInput, readWorkflowInput, withAgents } from "./workflow-input.ts";

const STOPPING = "stopping: calls in flight finish (again to exit now)";

interface RunOptions extends Pick<WireFlags, "providerOptions"> {
  input?: string;
  inputFile?: string;
  config?: string;
  module?: string[];
  model?: string;
  runId?: string;
  tag?: string[];
  priority?: number;
  deadline?: number;
  workers: number;
  wait: boolean;
  json?: boolean;
}

export const MODULE_OPTION = [
  "--module <file>",
  "a module that exports workflows, activities, agents, tools, retrievers or evaluators (repeatable)",
  collect,
] as const;

/** `gluellm workflow run`. */
export function addWorkflowRunCommand(workflow: Command): void {
  addProviderOptions(workflow.command("run"))
    .description("Start a workflow, or go on with a run, and print its output.")
    .argument("<name>", "a pattern or a module's workflow: gluellm workflow list")
    .addOption(new Option("--input <text>", "what it works on").conflicts("inputFile"))
    .option("--input-file <file>", "the same from a file; - is standard input")
    .option(
      "--config <file>",
      "a JSON file with the workflow's options; agents as JSON, or names of --module",
    )
    .option(...MODULE_OPTION)
    .option("-m, --model <provider:model>", "of calls that name none (default: DEFAULT_MODEL)")
    .option("--run-id <id>", "your name for the run: the same one with the same input is one run, paid once")
    .option("--tag <tag>", "a word by which lists find the run, such as team=search (repeatable)", collect)
    .option("--priority <n>", "lower comes first", integer(0, 2_097_151))
    .option("--deadline <seconds>", "within which the run must end", number(0.001))
    .option("--workers <n>", "0: the running fleet does the work; 1: this process too", integer(0, 1), 1)
    .option("--wait", "print the output when there is one (default)", true)
    .option("--no-wait", "print the run's id; the running fleet does the work")
    .option("--json", "print the whole status with the output")
    .addHelpText(
      "after",
      "\nCtrl-C leaves the run in Redis: the same command with its --run-id goes on with it.",
    )
    .action(runWorkflow);
}

async function runWorkflow(name: string, options: RunOptions): Promise<void> {
  const settings = loadSettings();
  const isLocal = options.wait && options.workers > 0;
  const modules = await loadModules(options.module ?? []);
  const workflow = namedWorkflow(name, modules);
  const model = modelOf(options, settings, isLocal);
  const input = withAgents(workflow, readWorkflowInput(workflow, options), modules.agents);
  checkInput(workflow, input);
  await using client = new GlueLLM({
    model,
    ...readWireOptions({ providerOptions: options.providerOptions }),
    mode: isLocal ? "local" : "fleet",
    settings,
    tools: [...modules.tools.values()],
    workflows: modules.workflows,
    functions: [...modules.functions.values()],
    activities: modules.activities,
  });
  const { runId, tag: tags, priority, deadline } = options;
  const deadlineMs = deadline === undefined ? undefined : Math.ceil(deadline * 1000);
  const run = await client.workflows.start(workflow, input, { runId, tags, priority, deadlineMs });
  if (options.wait) await untilEnd(client, run, options);
  else print(`${options.json ? JSON.stringify({ id: run.id }) : run.id}\n`);
}

/** Returns a pattern, or a workflow of the modules. @throws InputError */
export function namedWorkflow(name: string, modules: Definitions): AnyWorkflow {
  const known: AnyWorkflow[] = [...Object.values(PATTERNS), ...modules.workflows];
  const found = known.find((workflow) => workflow.name === name);
  if (found) return found;
  throw unknownWorkflow(
    name,
    known.map((workflow) => workflow.name),
  );
}

/** Returns the error of a name that no workflow has. */
export function unknownWorkflow(name: string, known: readonly string[]): InputError {
  const hint = hintOf(didYouMean(name, known), `known: ${known.join(", ")}; --module brings others`);
  return new InputError(`no workflow "${name}"`, hint);
}

function modelOf({ model }: RunOptions, settings: Settings, keyNeeded: boolean): string | undefined {
  if (model === undefined) return undefined;
  const chain = chooseModels(model, { settings, defaultModels: settings.defaultModel, keyNeeded });
  // A name of deployments stays one: each call has its own draw.
  return chain.fallbacks ? model : chain.model.key;
}

async function untilEnd(client: GlueLLM, run: WorkflowHandle, { runId, json }: RunOptions): Promise<void> {
  // On a terminal a notice would break into the picture.
  const interruption = onInterruption(process.stderr.isTTY ? undefined : STOPPING);
  process.stderr.write(`run ${run.id}\n`);
  try {
    const output = await followRun(client, run, interruption.signal);
    print(`${json ? jsonText({ ...(await run.status()), output }) : outputText(output)}\n`);
  } catch (error) {
    if (interruption.exitCode !== undefined) {
      process.exitCode = interruption.exitCode;
      process.stderr.write(`${leaveNotice(run.id, runId !== undefined)}\n`);
      if (process.stderr.isTTY) process.stderr.write(`${STOPPING}\n`);
      return;
    }
    if (json) print(`${jsonText(await run.status())}\n`);
    process.stderr.write(`${describeError(error)}\n`);
    // What was given on the command line was right: it is the run that failed.
    process.exitCode = exitCodeOf(error) === EXIT.input ? EXIT.rowsFailed : exitCodeOf(error);
  } finally {
    interruption.release();
  }
}

function leaveNotice(runId: string, isNamed: boolean): string {
  return [
    `run ${runId} is kept and goes on with the workers there are`,
    `  here again: ${isNamed ? ownCommand() : ownCommand("--run-id", runId)}`,
    `  its steps:  ${programName()} workflow steps ${runId}`,
    `  end it:     ${programName()} workflow cancel ${runId}`,
  ].join("\n");
}

/** A pattern's final output, a text as it is, anything else as JSON. */
function outputText(output: unknown): string {
  const text = isObject(output) && "finalOutput" in output ? output.finalOutput : output;
  return typeof text === "string" ? text : jsonText(text);
}
