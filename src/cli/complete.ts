import type { Command } from "commander";
import type { CompletionHandle } from "../client/completion-handle.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import { chooseModel } from "../producers/model-choice.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { loadSettings } from "../shared/settings.ts";
import { onInterruption } from "./exit.ts";
import { integer } from "./options.ts";
import { printable } from "./output.ts";
import { waitsForText } from "./queues.ts";

const EXPLAIN_MS = 5000;

/** `gluellm complete`. */
export function addCompleteCommand(program: Command): void {
  program
    .command("complete")
    .description("Enqueue one completion and print its answer.")
    .argument("<prompt>")
    .option("-m, --model <provider:model>", "the model (default: DEFAULT_MODEL)")
    .option("-s, --system <text>", "system prompt")
    .option("--max-tokens <n>", "longest answer", integer(1))
    .option("--workers <n>", "0: the running fleet does the work; 1: this process too", integer(0, 1), 1)
    .option("--json", "print the whole result")
    .action(async (prompt: string, options: CompleteOptions) => {
      const settings = loadSettings();
      const isLocal = options.workers > 0;
      const defaultModel = options.model ?? settings.defaultModel;
      const model = chooseModel(undefined, { settings, defaultModel, keyNeeded: isLocal });
      await using client = new GlueLLM({
        model: model.key,
        system: options.system,
        mode: isLocal ? "local" : "fleet",
        settings,
        queueGlobs: [completionQueueName(model)],
      });
      const handle = await client.enqueue(prompt, { maxTokens: options.maxTokens });
      const text = await answerOf(handle, model.key, options.json ?? false);
      if (text !== undefined) process.stdout.write(`${process.stdout.isTTY ? printable(text) : text}\n`);
    });
}

interface CompleteOptions {
  model?: string;
  system?: string;
  maxTokens?: number;
  workers: number;
  json?: boolean;
}

/** What to print; undefined after a signal, which cancels the job. */
async function answerOf(handle: CompletionHandle, key: string, asJson: boolean): Promise<string | undefined> {
  const interruption = onInterruption("stopping (again to exit now)");
  const explaining = setInterval(() => void explainWaiting(handle, key), EXPLAIN_MS);
  try {
    const result = await handle.result({ signal: interruption.signal });
    return asJson ? JSON.stringify(result, null, 2) : result.finalResponse;
  } catch (error) {
    if (interruption.exitCode === undefined) throw error;
    process.exitCode = interruption.exitCode;
    await handle.cancel();
    return undefined;
  } finally {
    clearInterval(explaining);
    interruption.release();
  }
}

/** Says why there is no answer yet, when there is a reason. */
export async function explainWaiting(handle: CompletionHandle, key: string): Promise<void> {
  const status = await handle.status().catch(() => undefined);
  if (status?.waitsFor.length) {
    process.stderr.write(`${waitsForText({ key, waitsFor: status.waitsFor })}\n`);
  }
}
