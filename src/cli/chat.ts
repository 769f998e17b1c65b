import { createInterface, type Interface } from "node:readline";
import { styleText } from "node:util";
import type { Command } from "commander";
import type { CompletionResult } from "../calls/completion-result.ts";
import { chooseModels } from "../calls/model-chain.ts";
import type { Conversation } from "../client/conversation.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import { loadModules } from "../host/load-modules.ts";
import { counted } from "../shared/counted.ts";
import { completionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import { loadSettings } from "../shared/settings.ts";
import { usd } from "../shared/usd.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import { explainWaiting } from "./complete.ts";
import { describeError, EXIT, exitCodeOf } from "./exit.ts";
import { integer } from "./options.ts";
import { printable } from "./output.ts";
import { printStream } from "./print-stream.ts";
import { addWireOptions, readWireOptions, type WireFlags } from "./wire-options.ts";

interface ChatOptions extends WireFlags {
  model?: string;
  system?: string;
  tools?: string;
  conversation?: string;
  workers: number;
  json?: boolean;
}

const EXPLAIN_MS = 5000;
const HELP = "/reset begins anew, /id shows the conversation's id, /quit leaves, Ctrl-C cancels a call";

/** `gluellm chat`. */
export function addChatCommand(program: Command): void {
  addWireOptions(program.command("chat"))
    .description("A conversation in the terminal: each line is a message.")
    .option("-m, --model <provider:model>", "the model (default: DEFAULT_MODEL)")
    .option("-s, --system <text>", "system prompt")
    .option("--tools <file>", "a module that exports tools")
    .option("--conversation <id>", "go on with this conversation, or begin it (default: a new one)")
    .option("--workers <n>", "0: the running fleet does the work; 1: this process too", integer(0, 1), 1)
    .option("--json", "print whole results, one a line")
    .action(runChat);
}

async function runChat({ system, conversation: id, workers, ...options }: ChatOptions): Promise<void> {
  const settings = loadSettings();
  const isLocal = workers > 0;
  const said = readWireOptions(options);
  const model = options.model ?? settings.defaultModel;
  const chain = chooseModels(undefined, { settings, defaultModels: model, keyNeeded: isLocal });
  const fallbacks = chain.fallbacks ?? [];
  const names = [chain.model, ...fallbacks].map(({ key }) => key).join(" or ");
  const { tools } = await loadModules(options.tools === undefined ? [] : [options.tools]);
  await using client = new GlueLLM({
    model,
    system,
    tools: [...tools.values()],
    mode: isLocal ? "local" : "fleet",
    settings,
    queueGlobs: [fallbacks.length > 0 ? ROUTE_QUEUE : completionQueueName(chain.model)],
  });
  const conversation = client.conversation({ id });
  const { calls } = await conversation.usage();
  note(
    `conversation ${conversation.id} with ${names}${calls > 0 ? `, ${counted(calls, "answer")} so far` : ""}\n${HELP}`,
  );
  await new Chat(conversation, names, options.json ?? false, said).run();
}

class Chat {
  readonly #conversation: Conversation;
  readonly #modelKey: string;
  readonly #asJson: boolean;
  readonly #said: WireOptions;
  readonly #lines: Interface;
  #call: AbortController | undefined;
  /** The next Ctrl-C leaves. */
  #isLeaving = false;
  #hasLeft = false;

  constructor(conversation: Conversation, modelKey: string, asJson: boolean, said: WireOptions) {
    this.#said = said;
    this.#conversation = conversation;
    this.#modelKey = modelKey;
    this.#asJson = asJson;
    // The prompt is no part of the output.
    this.#lines = createInterface({
      input: process.stdin,
      output: process.stderr,
      terminal: process.stdin.isTTY && process.stderr.isTTY,
      prompt: "> ",
    });
    this.#lines.on("SIGINT", () => this.#interrupt());
  }

  async run(): Promise<void> {
    const interrupt = () => this.#interrupt();
    const end = () => this.#leave(EXIT.sigterm);
    process.on("SIGINT", interrupt).once("SIGTERM", end);
    const lines = this.#lines[Symbol.asyncIterator]();
    try {
      for (;;) {
        if (process.stdin.isTTY) this.#lines.prompt();
        const { value, done } = await lines.next();
        if (done) return;
        this.#isLeaving = false;
        const line = value.trim();
        if (line === "/quit") return;
        if (line !== "") await this.#take(line);
        // What was piped in behind the last line taken is not asked any more.
        if (this.#hasLeft) return;
      }
    } finally {
      this.#lines.close();
      process.off("SIGINT", interrupt).off("SIGTERM", end);
    }
  }

  async #take(line: string): Promise<void> {
    if (line === "/reset") this.#conversation.reset();
    if (line === "/reset" || line === "/id") return note(this.#conversation.id);
    if (/^\/[a-z]+$/.test(line)) return note(`there is no ${line}: ${HELP}`);
    this.#call = new AbortController();
    try {
      note(await this.#costText(await this.#answer(line, this.#call.signal)));
    } catch (error) {
      if (this.#call.signal.aborted) return;
      process.stderr.write(`${describeError(error)}\n`);
      // A script that pipes its questions in has to learn of it.
      if (!process.stdin.isTTY) process.exitCode = exitCodeOf(error);
    } finally {
      this.#call = undefined;
    }
  }

  /** Printed as it comes; as JSON in one piece. */
  async #answer(line: string, signal: AbortSignal): Promise<CompletionResult> {
    const handle = await this.#conversation.enqueue(line, { ...this.#said, stream: !this.#asJson, signal });
    const explaining = setInterval(() => void explainWaiting(handle, this.#modelKey), EXPLAIN_MS);
    try {
      if (!this.#asJson) await printStream(handle.stream({ signal }), "text");
      const result = await handle.result({ signal });
      if (this.#asJson) process.stdout.write(`${JSON.stringify(result)}\n`);
      return result;
    } catch (error) {
      if (signal.aborted) await handle.cancel();
      throw error;
    } finally {
      clearInterval(explaining);
    }
  }

  async #costText({ tokensUsed: { prompt, completion }, costUsd }: CompletionResult): Promise<string> {
    const { tokensUsed: all, costUsd: allUsd } = await this.#conversation.usage();
    const own = `${prompt} + ${completion} tokens, ${priceText(costUsd)}`;
    return `${own}; conversation: ${counted(all.total, "token")}, ${priceText(allUsd)}`;
  }

  #interrupt(): void {
    if (this.#isLeaving) {
      this.#leave(EXIT.sigint);
      return;
    }
    this.#isLeaving = true;
    process.stderr.write("\n");
    note(`${this.#call ? "cancelled; " : ""}Ctrl-C again to leave`);
    if (this.#call) this.#call.abort();
    else if (process.stdin.isTTY) this.#lines.prompt();
  }

  #leave(exitCode: number): void {
    process.exitCode = exitCode;
    this.#hasLeft = true;
    this.#call?.abort();
    this.#lines.close();
  }
}

function priceText(costUsd: number | null): string {
  return costUsd === null ? "price unknown" : usd(costUsd);
}

/** Beside the conversation: on standard error, dim on a terminal. */
function note(text: string): void {
  process.stderr.write(`${styleText("dim", printable(text), { stream: process.stderr })}\n`);
}
