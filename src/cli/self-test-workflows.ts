import { type Command, Option } from "commander";
import type { GlueLLM } from "../client/glue-llm.ts";
import { PATTERNS } from "../patterns/all.ts";
import type { PatternResult } from "../patterns/pattern.ts";
import { Agent } from "../shared/agent.ts";
import { ConfigurationError } from "../shared/errors.ts";
import { onInterruption } from "./exit.ts";
import { followRun } from "./follow-run.ts";
import { integer } from "./options.ts";
import { printFact } from "./output.ts";
import {
  MODEL_OPTION,
  type SelfTestOptions,
  SIMULATED_MODEL,
  SIMULATOR_OPTION,
  withTestClient,
} from "./self-test.ts";

const CRITICS = [
  ["accuracy", "every statement is true and none is missing"],
  ["clarity", "a layman understands it at the first reading"],
  ["brevity", "no word can be left out"],
  ["structure", "each sentence follows from the one before"],
  ["tone", "it is plain and friendly"],
] as const;
const STAGES = ["outline", "draft", "edit", "shorten", "title"] as const;

/** `gluellm test-iterative-workflow`, `test-pipeline-workflow`, `test-debate-workflow`: patterns on this account. */
export function addWorkflowTestCommands(program: Command): void {
  program
    .command("test-iterative-workflow")
    .description("Let an agent write, and critics improve it, in a durable workflow.")
    .option("-i, --input <text>", "the task", "Explain in three sentences why the sea has tides.")
    .option("-n, --max-iterations <n>", "rounds at most", integer(1, 20), 2)
    .option("-c, --critics <n>", "critics", integer(1, CRITICS.length), 2)
    .option(...MODEL_OPTION)
    .option(...SIMULATOR_OPTION)
    .action((options: SelfTestOptions & { input: string; maxIterations: number; critics: number }) => {
      const { input, maxIterations } = options;
      const critics = CRITICS.slice(0, options.critics).map(([specialty, goal]) => {
        return {
          agent: agentOf(options, `${specialty}-critic`, "You judge texts strictly."),
          specialty,
          goal,
        };
      });
      const producer = agentOf(options, "producer", "You write short, correct texts.");
      return run(options, "iterative-refinement", { input, producer, critics, maxIterations });
    });
  program
    .command("test-pipeline-workflow")
    .description("Let agents work on a text one after the other, in a durable workflow.")
    .option("-i, --input <text>", "the task", "Three sentences on why the sea has tides.")
    .option("-s, --stages <n>", "stages", integer(1, STAGES.length), 3)
    .option(...MODEL_OPTION)
    .option(...SIMULATOR_OPTION)
    .action((options: SelfTestOptions & { input: string; stages: number }) => {
      const stages = STAGES.slice(0, options.stages).map((name) => {
        return {
          name,
          agent: agentOf(options, name, `You ${name} what you are given. Answer with the text alone.`),
        };
      });
      return run(options, "pipeline", { input: options.input, stages });
    });
  program
    .command("test-debate-workflow")
    .description("Let two agents argue, and a third one judge, in a durable workflow.")
    .option("-t, --topic <text>", "what about", "Should a city centre be free of cars?")
    .option("-r, --rounds <n>", "rounds at most", integer(1, 20), 2)
    .addOption(new Option("--no-judge", "end without a verdict"))
    .option(...MODEL_OPTION)
    .option(...SIMULATOR_OPTION)
    .action((options: SelfTestOptions & { topic: string; rounds: number; judge: boolean }) => {
      const participants = ["for", "against"].map((side) =>
        agentOf(options, side, `You argue ${side} the proposal, in at most three sentences.`),
      );
      const judge = options.judge && { judge: agentOf(options, "judge", "You weigh both sides and decide.") };
      return run(options, "debate", {
        input: options.topic,
        participants,
        maxRounds: options.rounds,
        ...judge,
      });
    });
}

/** With the model in words: the run may be taken by another worker, whose default is another one. */
function agentOf({ model, simulator }: SelfTestOptions, name: string, systemPrompt: string): Agent {
  const description = `The ${name} of a test.`;
  return new Agent({ name, description, systemPrompt, model: simulator ? SIMULATED_MODEL : model });
}

async function run(options: SelfTestOptions, pattern: string, input: object): Promise<void> {
  if (!(pattern in PATTERNS)) {
    throw new ConfigurationError(
      `this version has no pattern "${pattern}"`,
      "gluellm workflow list shows its own",
    );
  }
  await withTestClient(options, async (client) => {
    const result = await followed(client, pattern, input);
    if (!result) return;
    printFact("answer", result.finalOutput);
    printFact("rounds", String(result.iterations));
    printFact("calls", String(result.agentInteractions.length));
  });
}

/** A test is worth nothing later: a signal ends the run too. */
async function followed(client: GlueLLM, pattern: string, input: object): Promise<PatternResult | undefined> {
  const interruption = onInterruption(undefined);
  const handle = await client.workflows.start(pattern, input);
  try {
    return (await followRun(client, handle, interruption.signal)) as PatternResult;
  } catch (error) {
    if (interruption.exitCode === undefined) throw error;
    process.exitCode = interruption.exitCode;
    await handle.cancel();
    return undefined;
  } finally {
    interruption.release();
  }
}
