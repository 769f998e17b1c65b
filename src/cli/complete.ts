import type { Command } from "commander";
import type { CompletionHandle } from "../client/completion-handle.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import { chooseModel } from "../producers/model-choice.ts";
import { loadModules } from "../shared/load-modules.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { loadSettings } from "../shared/settings.ts";
import { onInterruption } from "./exit.ts";
import { collect, integer } from "./options.ts";
import { printable } from "./output.ts";
import { printStream } from "./print-stream.ts";
import { waitsForText } from "./queues.ts";
import { readSchemaFile } from "./schema-file.ts";

const EXPLAIN_MS = 5000;

/** `gluellm complete`. */
export function addCompleteCommand(program: Command): void {
  program
    .command("complete")
    .description("Enqueue one completion and print its answer.")
    .argument("<prompt>")
    .option("-m, --model <provider:model>", "the model (default: DEFAULT_MODEL)")
    .option("-s, --system <text>", "system prompt")
    .option("--tools <file>", "a module that exports tools the model may call (repeatable)", collect)
    .option("--schema <file>", "a JSON Schema: the answer is JSON that fits it")
    .option("--max-tokens <n>", "longest answer", integer(1))
    .option("--workers <n>", "0: the running fleet does the work; 1: this process too", integer(0, 1), 1)
    .option("--stream", "print the answer as it comes")
    .option("--json", "print the whole result; with --stream one event per line")
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
      const { maxTokens, stream } = options;
      const { tools } = await loadModules(options.tools ?? []);
      const schema = options.schema === undefined ? undefined : readSchemaFile(options.schema);
      const handle = await client.enqueue(prompt, { maxTokens, stream, tools: [...tools.values()], schema });
      const text = await answerOf(handle, model.key, options);
      if (text !== undefined) process.stdout.write(`${process.stdout.isTTY ? printable(text) : text}\n`);
    });
}

interface CompleteOptions {
  model?: string;
  system?: string;
  tools?: string[];
  schema?: string;
  maxTokens?: number;
  workers: number;
  stream?: boolean;
  json?: boolean;
}

/** What is left to print; nothing after a stream, nor after a signal, which cancels the job. */
async function answerOf(
  handle: CompletionHandle,
  key: string,
  { stream, json = false }: CompleteOptions,
): Promise<string | undefined> {
  const interruption = onInterruption("stopping (again to exit now)");
  const explaining = setInterval(() => void explainWaiting(handle, key), EXPLAIN_MS);
  try {
    const { signal } = interruption;
    if (stream) {
      await printStream(handle.stream({ signal }), json);
      return undefined;
    }
    const result = await handle.result({ signal });
    if (json) return JSON.stringify(result, null, 2);
    return result.output === undefined ? result.finalResponse : JSON.stringify(result.output, null, 2);
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
