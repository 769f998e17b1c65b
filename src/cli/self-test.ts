import type { Command } from "commander";
import { z } from "zod";
import type { CompletionResult } from "../calls/completion-result.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { counted } from "../shared/counted.ts";
import { GlueError } from "../shared/errors.ts";
import { loadSettings } from "../shared/settings.ts";
import { defineTool } from "../shared/tool.ts";
import { usd } from "../shared/usd.ts";
import { startSimulator } from "./compose.ts";
import { printFact } from "./output.ts";

export const MODEL_OPTION = ["-m, --model <provider:model>", "the model (default: DEFAULT_MODEL)"] as const;
export const SIMULATOR_OPTION = ["--simulator", "ask a simulated provider: no key, no cost"] as const;

export const SIMULATED_MODEL = "simulator:test";

/** `gluellm test-completion`, `gluellm test-tool-call`: does this account answer, through queue, worker and limits? */
export function addSelfTestCommands(program: Command): void {
  program
    .command("test-completion")
    .description("Make one small call and print what came of it.")
    .option(...MODEL_OPTION)
    .option(...SIMULATOR_OPTION)
    .action((options: SelfTestOptions) => run(options, testCompletion));
  program
    .command("test-tool-call")
    .description("Make one small call in which the model has to use a tool.")
    .option(...MODEL_OPTION)
    .option(...SIMULATOR_OPTION)
    .action((options: SelfTestOptions) => run(options, testToolCall));
}

export interface SelfTestOptions {
  model?: string;
  simulator?: boolean;
}

async function run(
  options: SelfTestOptions,
  test: (glue: GlueLLM, isSimulated: boolean) => Promise<CompletionResult>,
): Promise<void> {
  await withTestClient(options, async (glue, isSimulated) => report(await test(glue, isSimulated)));
}

/** A client whose own process does the work, with a simulated provider if it is asked for. */
export async function withTestClient(
  { model, simulator }: SelfTestOptions,
  test: (glue: GlueLLM, isSimulated: boolean) => Promise<void>,
): Promise<void> {
  await using parts = new CloseStack();
  const settings = loadSettings();
  const simulated = simulator ? await startSimulator({ port: 0 }) : undefined;
  if (simulated) parts.defer(() => simulated.close());
  const { simulator: entry } = settings.providers;
  const own = simulated && entry && { simulator: { ...entry, baseUrl: `${simulated.url}/v1` } };
  const glue = parts.use(
    new GlueLLM({
      mode: "local",
      model: simulated ? SIMULATED_MODEL : model,
      settings: {
        ...settings,
        providers: { ...settings.providers, ...own },
        // Workers of a fleet that runs know another simulator, or none.
        namespace: simulated ? `${settings.namespace}-self-test` : settings.namespace,
      },
    }),
  );
  await test(glue, simulated !== undefined);
}

function testCompletion(glue: GlueLLM): Promise<CompletionResult> {
  return glue.complete("Say hello in one short sentence.", { maxTokens: 200 });
}

/** @throws GlueError when the model did not use the tool. */
async function testToolCall(glue: GlueLLM, isSimulated: boolean): Promise<CompletionResult> {
  const clock = defineTool({
    name: "current_time",
    description: "The present date and time in UTC.",
    parameters: z.object({}),
    execute: () => new Date().toISOString(),
  });
  const prompt = "Which year is it? Ask your tool, then answer in one short sentence.";
  const script = isSimulated ? '\n#sim {"callTools": true}' : "";
  const result = await glue.complete(`${prompt}${script}`, { tools: [clock] });
  for (const { toolName, result: output, error } of result.toolExecutionHistory) {
    printFact("tool", `${toolName} → ${output ?? error?.message}`);
  }
  if (result.toolExecutionHistory.some(({ error }) => !error)) return result;
  throw new GlueError({
    code: "no_tool_call",
    category: "provider",
    message: `${result.model} answered without its tool: ${result.finalResponse.slice(0, 200)}`,
    hint: "take a model that can call tools",
  });
}

function report({ model, finalResponse, tokensUsed, costUsd, latencyMs, attempts }: CompletionResult): void {
  const { prompt, completion, total } = tokensUsed;
  printFact("model", model);
  printFact("answer", finalResponse);
  printFact("tokens", `${total} (prompt ${prompt}, completion ${completion})`);
  printFact("cost", costUsd === null ? "unknown: no price of this model is known" : usd(costUsd));
  printFact("time", `${latencyMs} ms at the provider, ${counted(attempts, "attempt")}`);
}
