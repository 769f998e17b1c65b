import type { Command } from "commander";
import { chooseModels } from "../calls/model-chain.ts";
import type { CompletionHandle } from "../client/completion-handle.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import { loadModules } from "../host/load-modules.ts";
import { completionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import { loadSettings } from "../shared/settings.ts";
import { onInterruption } from "./exit.ts";
import { CACHE_HELP, collect, integer, NO_CACHE_HELP, number } from "./options.ts";
import { jsonText, print } from "./output.ts";
import { printStream } from "./print-stream.ts";
import { waitsForText } from "./queues.ts";
import { readSchemaFile } from "./schema-file.ts";
import { addWireOptions, readWireOptions, type WireFlags } from "./wire-options.ts";

const EXPLAIN_MS = 5000;

/** `gluellm complete`. */
export function addCompleteCommand(program: Command): void {
  addWireOptions(program.command("complete"))
    .description("Enqueue one completion and print its answer.")
    .argument("<prompt>")
    .option(
      "-m, --model <provider:model>",
      "the model (default: DEFAULT_MODEL); given again, the next to try when one is down or at its limit",
      collect,
    )
    .option("-s, --system <text>", "system prompt")
    .option("--tools <file>", "a module that exports tools the model may call (repeatable)", collect)
    .option("--schema <file>", "a JSON Schema: the answer is JSON that fits it")
    .option("--max-tokens <n>", "longest answer", integer(1))
    .option(
      "--max-cost <usd>",
      "stop before the provider call that could make the job cost more",
      number(1e-9),
    )
    .option("--workers <n>", "0: the running fleet does the work; 1: this process too", integer(0, 1), 1)
    .option("--stream", "print the answer as it comes")
    .option("--cache", CACHE_HELP)
    .option("--no-cache", NO_CACHE_HELP)
    .option("--json", "print the whole result; with --stream one event per line")
    .action(async (prompt: string, options: CompleteOptions) => {
      const settings = loadSettings();
      const isLocal = options.workers > 0;
      const choice = { settings, defaultModels: settings.defaultModel, keyNeeded: isLocal };
      const { model, fallbacks = [] } = chooseModels(options.model, choice);
      const names = [model, ...fallbacks].map(({ key }) => key);
      await using client = new GlueLLM({
        model: options.model ?? settings.defaultModel,
        system: options.system,
        mode: isLocal ? "local" : "fleet",
        settings,
        queueGlobs: [fallbacks.length > 0 ? ROUTE_QUEUE : completionQueueName(model)],
      });
      const { maxTokens, maxCost: maxCostUsd, stream, cache } = options;
      const { tools } = await loadModules(options.tools ?? []);
      const schema = options.schema === undefined ? undefined : readSchemaFile(options.schema);
      const callOptions = {
        ...readWireOptions(options),
        maxTokens,
        maxCostUsd,
        stream,
        cache,
        tools: [...tools.values()],
        schema,
      };
      const handle = await client.enqueue(prompt, callOptions);
      const text = await answerOf(handle, names.join(" or "), options);
      if (text !== undefined) print(`${text}\n`);
    });
}

interface CompleteOptions extends WireFlags {
  model?: string[];
  system?: string;
  tools?: string[];
  schema?: string;
  maxTokens?: number;
  maxCost?: number;
  workers: number;
  stream?: boolean;
  json?: boolean;
  cache?: boolean;
}

/** What is left to print; nothing after a stream, nor after a signal, which cancels the job. */
async function answerOf(
  handle: CompletionHandle,
  key: string,
  { stream, schema, json = false }: CompleteOptions,
): Promise<string | undefined> {
  const interruption = onInterruption("stopping (again to exit now)");
  const explaining = setInterval(() => void explainWaiting(handle, key), EXPLAIN_MS);
  try {
    const { signal } = interruption;
    if (stream) {
      await printStream(handle.stream({ signal }), json ? "events" : schema ? "output" : "text");
      return undefined;
    }
    const result = await handle.result({ signal });
    if (json) return jsonText(result);
    return result.output === undefined ? result.finalResponse : jsonText(result.output);
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
