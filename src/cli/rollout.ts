import { type Command, Option } from "commander";
import { GlueLLM } from "../client/glue-llm.ts";
import type { RolloutOutputOptions } from "../client/rollout-options.ts";
import { loadModules } from "../host/load-modules.ts";
import { SCALES } from "../rollouts/advantages.ts";
import { EXPORTS, type ExportFormat } from "../rollouts/exports.ts";
import { UNINFORMATIVE } from "../rollouts/scored-step.ts";
import type { RolloutReport } from "../rollouts/write-results.ts";
import { counted } from "../shared/counted.ts";
import { InputError } from "../shared/errors.ts";
import { isReward } from "../shared/reward.ts";
import { loadSettings } from "../shared/settings.ts";
import { EXIT, onInterruption } from "./exit.ts";
import { collect, integer, number } from "./options.ts";
import { jsonText, print, printable } from "./output.ts";
import { ownCommand } from "./own-command.ts";
import { addProviderOptions, readWireOptions, type WireFlags } from "./wire-options.ts";

const STOPPING = "stopping: calls in flight finish (again to exit now)";

interface OutputFlags {
  reward: string[];
  scale: RolloutOutputOptions["scale"];
  uninformative: RolloutOutputOptions["uninformative"];
  groupsPerStep: number;
  export?: ExportFormat[];
  json?: boolean;
}

interface RolloutFlags extends OutputFlags, Pick<WireFlags, "providerOptions"> {
  output: string;
  samples: number;
  model?: string;
  system?: string;
  promptField?: string;
  limit?: number;
  temperature?: number;
  topP?: number;
  maxTokens?: number;
  tool?: string[];
  maxTurns: number;
  seed: number;
  sendSeeds: boolean;
  keepFirst: boolean;
  resample: number;
  groupsInFlight: number;
  workers: number;
}

/** `gluellm rollout` and `gluellm rollout rescore`. */
export function addRolloutCommands(program: Command): void {
  const rollout = program
    .command("rollout")
    .description(
      "Samples of prompts with scores, as data for trainers: IN.jsonl -o FOLDER, or rescore FOLDER.",
    );
  addProviderOptions(withOutputOptions(rollout.command("run", { isDefault: true })))
    .description("Sample each prompt of IN several times, score every sample, and write data for trainers.")
    .argument("<input>", "JSON lines with a prompt (a text or messages), and what the rewards look at")
    .requiredOption(
      "-o, --output <folder>",
      "where the results go; by it the same command goes on after a crash",
    )
    .requiredOption("--samples <n>", "samples of each prompt", integer(1, 1024))
    .option("-m, --model <provider:model>", "the model (default: DEFAULT_MODEL)")
    .option("-s, --system <text>", "system prompt of prompts that have none")
    .option(
      "--prompt-field <name>",
      "take the prompt from this field (default: prompt, messages or question)",
    )
    .option("--limit <rows>", "only the first rows", integer(1))
    .option("--temperature <t>", "how random the samples are", number(0))
    .option("--top-p <p>", "probability of the likeliest tokens together", number(0))
    .option("--max-tokens <n>", "longest answer", integer(1))
    .option(
      "--tool <name>",
      "a tool of the --reward modules that the model may call (repeatable; default: all)",
      collect,
    )
    .option("--max-turns <n>", "most answers of one sample", integer(1, 1000), 10)
    .option("--seed <n>", "from which the samples' seeds are made", integer(0), 0)
    .option("--no-send-seeds", "send no seeds")
    .option(
      "--no-keep-first",
      "do not let each prompt's first sample go ahead for the provider's prefix cache",
    )
    .option(
      "--resample <k>",
      "sample a group anew up to k times while its rewards are all equal",
      integer(0, 100),
      0,
    )
    .option("--groups-in-flight <n>", "prompts under way at a time", integer(1, 1000), 16)
    .option("--workers <n>", "0: the running fleet does the work; 1: this process too", integer(0, 1), 1)
    .addHelpText(
      "after",
      "\nNo model is trained here: the files are what a trainer reads. Samples that are finished are never paid for again.",
    )
    .action(runRollout);
  withOutputOptions(rollout.command("rescore"))
    .description("Score the samples of a finished rollout again. No provider is called.")
    .argument("<folder>", "the folder of the rollout")
    .action(async (output: string, flags: OutputFlags) => {
      const { rewards } = await definitionsOf(flags.reward);
      // Nothing of Redis or a provider is opened.
      await using client = new GlueLLM({ mode: "fleet" });
      print(reportText(await client.rescore({ output, rewards, ...outputOptions(flags) }), flags));
    });
}

function withOutputOptions(command: Command): Command {
  return command
    .requiredOption(
      "--reward <module>",
      "a module that exports rewards, and tools or an environment (repeatable)",
      collect,
    )
    .addOption(
      new Option("--scale <by>", "what advantages are divided by: the deviation of")
        .choices(SCALES)
        .default("group"),
    )
    .addOption(
      new Option("--uninformative <what>", "groups whose rewards are all equal, in exports for trainers")
        .choices(UNINFORMATIVE)
        .default("drop"),
    )
    .option("--groups-per-step <n>", "prompts of one training step", integer(1), 8)
    .addOption(
      new Option("--export <format>", "write a trainer's file too (repeatable)")
        .choices(EXPORTS)
        .argParser((value: string, before: string[] | undefined) => collect(known(value), before)),
    )
    .option("--json", "print the whole report as JSON");
}

function known(format: string): string {
  if ((EXPORTS as readonly string[]).includes(format)) return format;
  throw new InputError(`there is no export "${format}"`, `known: ${EXPORTS.join(", ")}`);
}

async function runRollout(prompts: string, flags: RolloutFlags): Promise<void> {
  const settings = loadSettings();
  const { rewards, environment, tools, functions } = await definitionsOf(flags.reward);
  const chosen = flags.tool ?? [...tools.keys()];
  const interruption = onInterruption(STOPPING);
  await using client = new GlueLLM({
    mode: flags.workers > 0 ? "local" : "fleet",
    settings,
    functions,
    ...readWireOptions({ providerOptions: flags.providerOptions }),
  });
  const { output, samples, model, system, promptField, limit, temperature, topP, maxTokens, maxTurns } =
    flags;
  const { keepFirst, resample, groupsInFlight } = flags;
  let shown = -1;
  let said = "";
  try {
    const report = await client.rollout({
      ...{ prompts, output, samples, rewards, environment, model, system, promptField, limit },
      ...{ temperature, topP, maxTokens, maxTurns, keepFirst, resample, groupsInFlight },
      ...(chosen.length > 0 && { tools: chosen.map((name) => tools.get(name) ?? name) }),
      seed: flags.sendSeeds ? flags.seed : false,
      ...outputOptions(flags),
      signal: interruption.signal,
      onProgress: ({ groups, total, waitsFor }) => {
        const reason = waitsFor?.join("; ");
        if (reason && reason !== said) process.stderr.write(`a group waits: ${printable(reason)}\n`);
        said = reason ?? said;
        const tenth = Math.floor((10 * groups) / total);
        if (tenth === shown) return;
        shown = tenth;
        process.stderr.write(`${groups} of ${total} groups\n`);
      },
    });
    print(reportText(report, flags));
    process.exitCode = report.failed > 0 ? EXIT.rowsFailed : EXIT.ok;
  } catch (error) {
    const resume = `go on with: ${ownCommand()}\n`;
    if (interruption.exitCode === undefined) {
      if (!(error instanceof InputError)) process.stderr.write(resume);
      throw error;
    }
    process.exitCode = interruption.exitCode;
    process.stderr.write(`finished samples are kept\n${resume}`);
  } finally {
    interruption.release();
  }
}

async function definitionsOf(modules: readonly string[]) {
  const { functions, tools } = await loadModules(modules);
  const all = [...functions.values()];
  const rewards = all.filter(isReward);
  if (rewards.length === 0) {
    throw new InputError(
      `the module ${modules.join(", ")} exports no rewards`,
      "export what defineReward or defineJudge returns",
      "module_without_rewards",
    );
  }
  const environments = all.filter(({ kind }) => kind === "environment");
  if (environments.length > 1) {
    const names = environments.map(({ name }) => name).join(", ");
    throw new InputError(`the modules export several environments: ${names}`, "a rollout has one at most");
  }
  return { rewards, environment: environments[0], tools, functions: all };
}

function outputOptions({
  scale,
  uninformative,
  groupsPerStep,
  export: exports = [],
}: OutputFlags): RolloutOutputOptions {
  return { scale, uninformative, groupsPerStep, exports };
}

function reportText(report: RolloutReport, { json }: OutputFlags): string {
  if (json) return `${jsonText(report)}\n`;
  const { groups, informative, samples, failed, reward, length, costUsd, judgeCostUsd, discarded, files } =
    report;
  const cost = costUsd === null ? "unknown" : `$${costUsd.toFixed(4)}`;
  const judges = judgeCostUsd ? `, judges $${judgeCostUsd.toFixed(4)}` : "";
  const again = discarded > 0 ? `, ${discarded} sampled anew` : "";
  return [
    `${counted(groups, "group")}, ${informative} informative; ${counted(samples, "sample")}, ${failed} failed${again}`,
    `reward ${reward.mean.toFixed(4)} ± ${reward.std.toFixed(4)}, length ${length.mean.toFixed(1)} tokens, cost ${cost}${judges}`,
    ...Object.entries(files).map(([what, path]) => `${what}: ${path}`),
    "",
  ].join("\n");
}
