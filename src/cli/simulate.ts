import { once } from "node:events";
import { type Command, Option } from "commander";
import { startSimulator } from "./compose.ts";
import { onInterruption } from "./exit.ts";
import { integer, number } from "./options.ts";
import { programName } from "./own-command.ts";

interface SimulateOptions {
  port: number;
  rpm?: number;
  tpm?: number;
  itpm?: number;
  otpm?: number;
  charge: "used" | "requested" | "produced";
  burstSeconds: number;
  latency: number;
  jitter: number;
  seed: number;
  faults?: string;
  journal?: string;
  batchSpeed: number;
  flexRefused: number;
  promptCache?: boolean;
}

/** `gluellm simulate`. */
export function addSimulateCommand(program: Command): void {
  program
    .command("simulate")
    .description(
      "A provider simulator on loopback: OpenAI Chat Completions and Anthropic Messages, with limits and faults.",
    )
    .option("--port <n>", "its port; 0 picks a free one", integer(0, 65_535), 4010)
    .option("--rpm <n>", "requests per minute, per key and model (default: no limit)", number(0.001))
    .option("--tpm <n>", "tokens per minute, per key and model (default: no limit)", number(0.001))
    .option("--itpm <n>", "input tokens per minute, per key and model (default: no limit)", number(0.001))
    .option("--otpm <n>", "output tokens per minute, per key and model (default: no limit)", number(0.001))
    .addOption(
      new Option(
        "--charge <policy>",
        "count the real completion, max_tokens where given, or the completion when it is there",
      )
        .choices(["used", "requested", "produced"])
        .default("used"),
    )
    .option("--burst-seconds <s>", "size of the token buckets in seconds of rate", number(0.001), 1)
    .option("--latency <ms>", "time to answer", number(0), 200)
    .option("--jitter <ms>", "random part of the latency", number(0), 50)
    .option("--seed <n>", "seed of latencies and faults", integer(0), 1)
    .option("--faults <json>", `shares of faults, such as '{"429":0.02,"500":0.05,"drop":0.01,"hang":0.01}'`)
    .option(
      "--batch-speed <n>",
      "hours of the providers' batches pass so many times faster",
      number(0.001),
      1,
    )
    .option("--flex-refused <share>", "share of flex calls that find no room", number(0), 0)
    .option("--prompt-cache", "cache equal long beginnings of prompts, and say so in the usage")
    .option("--journal <file>", "append every request to this file, as JSON lines")
    .action(async (options: SimulateOptions) => {
      const interruption = onInterruption("stopping");
      const { latency, jitter, journal, ...rest } = options;
      const simulator = await startSimulator({
        ...rest,
        latencyMs: latency,
        jitterMs: jitter,
        journalFile: journal,
      });
      process.stdout.write(
        `provider simulator (answers are made up): ${simulator.url}\n` +
          `OpenAI:    OPENAI_BASE_URL=${simulator.url}/v1 OPENAI_API_KEY=any\n` +
          `Anthropic: ANTHROPIC_BASE_URL=${simulator.url} ANTHROPIC_API_KEY=any\n` +
          `gluellm:   SIMULATOR_BASE_URL=${simulator.url}/v1 ${programName()} complete "hello" -m simulator:demo\n`,
      );
      await once(interruption.signal, "abort");
      await simulator.close();
      process.exitCode = interruption.exitCode ?? 0;
    });
}
