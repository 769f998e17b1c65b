import type { Command } from "commander";
import { complete } from "../producers/complete.ts";
import { chooseModel } from "../producers/model-choice.ts";
import { readQueueStates } from "../producers/queue-states.ts";
import { InputError } from "../shared/errors.ts";
import { createLogger } from "../shared/logger.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { loadSettings, type Settings } from "../shared/settings.ts";
import { openRedis, type RedisHost, startWorker } from "./compose.ts";
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
    .option("--json", "print the whole result record")
    .action(async (prompt: string, options: CompleteOptions) => {
      if (prompt.trim() === "") throw new InputError("the prompt is empty", 'write: gluellm complete "…"');
      const settings = loadSettings();
      const logger = createLogger({ ...settings.log, level: settings.log.level ?? "error" });
      const choice = {
        settings,
        defaultModel: options.model ?? settings.defaultModel,
        keyNeeded: options.workers > 0,
      };
      const model = chooseModel(undefined, choice);
      const interruption = onInterruption("stopping (again to exit now)");
      await using host = await openRedis(settings, logger);
      const { target: redisTarget, redis, keys } = host;
      const queueGlobs = [completionQueueName(model)];
      const worker =
        options.workers > 0 ? await startWorker({ redisTarget, settings, logger, queueGlobs }) : undefined;
      const explaining = setInterval(() => void explain(host, settings, queueGlobs), EXPLAIN_MS);
      try {
        const messages = [
          ...(options.system ? [{ role: "system" as const, content: options.system }] : []),
          { role: "user" as const, content: prompt },
        ];
        const request = { messages, ...(options.maxTokens && { max_tokens: options.maxTokens }) };
        const result = await complete({ redis, keys, settings, model, request, signal: interruption.signal });
        const { body, ...record } = result;
        const whole = { ...record, response: { ...record.response, body } };
        const answer = options.json
          ? JSON.stringify(whole, null, 2)
          : (body.choices[0]?.message.content ?? "");
        process.stdout.write(`${process.stdout.isTTY ? printable(answer) : answer}\n`);
      } catch (error) {
        if (interruption.exitCode === undefined) throw error;
        process.exitCode = interruption.exitCode;
      } finally {
        clearInterval(explaining);
        await worker?.close();
        interruption.release();
      }
    });
}

interface CompleteOptions {
  model?: string;
  system?: string;
  maxTokens?: number;
  workers: number;
  json?: boolean;
}

/** Says why there is no answer yet, when there is a reason. */
async function explain(
  { redis, keys }: RedisHost,
  settings: Settings,
  queues: readonly string[],
): Promise<void> {
  const states = await readQueueStates(redis, keys, settings, queues).catch(() => []);
  for (const state of states) {
    if (state.waitsFor.length > 0) process.stderr.write(`${waitsForText(state)}\n`);
  }
}
