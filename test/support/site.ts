import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../src/simulator/simulator.ts";
import { runCli, startCli } from "./cli.ts";
import { endProcess, type StartedProcess } from "./processes.ts";
import { encryptionEnv, testNamespace } from "./redis.ts";

export const MODEL = "simulator:test";
/** For tests that kill workers: others have their jobs within 6 s, not 15. A shorter lock a busy machine's worker would lose. */
export const SHORT_LOCKS = { GLUELLM_LOCK_MS: "4000" };
/** The same simulator in Anthropic's dialect. */
export const CLAUDE_MODEL = "claude:test";

/** The same, asked by OpenAI's Responses. */
export const NATIVE_MODEL = "native:test";

/** A folder, a namespace and a simulator of one test's own, and the command line that uses them. */
export class TestSite implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "gluellm-site-"));
  readonly namespace = testNamespace();
  readonly simulator: Simulator;
  readonly #runs: StartedProcess[] = [];
  readonly #env: Record<string, string>;

  private constructor(simulator: Simulator, env: Record<string, string>) {
    this.simulator = simulator;
    this.#env = env;
  }

  static async open(options: SimulatorOptions = {}, env: Record<string, string> = {}): Promise<TestSite> {
    return new TestSite(await startSimulator({ latencyMs: 5, jitterMs: 0, ...options }), env);
  }

  get env(): Record<string, string> {
    return {
      GLUELLM_REDIS_URL: `unix://${inject("redisSocket")}`,
      GLUELLM_NAMESPACE: this.namespace,
      GLUELLM_RETRY_MIN_WAIT: "0.05",
      GLUELLM_RETRY_MAX_WAIT: "0.2",
      SIMULATOR_BASE_URL: `${this.simulator.url}/v1`,
      GLUELLM_PROVIDERS: JSON.stringify({
        claude: {
          dialect: "anthropic",
          baseUrl: this.simulator.url,
          keyOptional: true,
          models: ["test", "claude-long"],
          batches: true,
        },
        native: {
          baseUrl: `${this.simulator.url}/v1`,
          keyOptional: true,
          models: ["test"],
          api: "responses",
        },
      }),
      ...encryptionEnv,
      ...this.#env,
    };
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, rows: readonly unknown[]): string {
    const path = this.path(name);
    writeFileSync(
      path,
      `${rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n")}\n`,
    );
    return path;
  }

  read(name: string): Record<string, unknown>[] {
    const lines = readFileSync(this.path(name), "utf8").trimEnd().split("\n");
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Whole lines; the last one of a file in use may be torn. */
  countLines(name: string): number {
    return readFileSync(this.path(name), "utf8").split("\n").length - 1;
  }

  /** `count` rows with prompts and ids of their own. */
  rows(count: number, prompt = (n: number) => `question ${n}`): { custom_id: string; prompt: string }[] {
    return Array.from({ length: count }, (_, n) => ({ custom_id: `row-${n}`, prompt: prompt(n) }));
  }

  run(...args: string[]) {
    return runCli(args, this.env, this.folder);
  }

  /** Started, not awaited; killed with the site when it still runs. */
  start(...args: string[]): StartedProcess {
    return this.startWith({}, ...args);
  }

  /** The same in an environment that differs by these variables. */
  startWith(env: Record<string, string>, ...args: string[]): StartedProcess {
    const run = startCli(args, { ...this.env, ...env }, this.folder);
    this.#runs.push(run);
    return run;
  }

  batch(...args: string[]): string[] {
    return ["batch", "run", "in.jsonl", "-o", "out.jsonl", "-m", MODEL, ...args];
  }

  /** How often the provider answered each prompt with success. */
  paidCalls(): Map<string, number> {
    const paid = new Map<string, number>();
    for (const { lastUserText, status } of this.simulator.journal.entries()) {
      if (status === 200) paid.set(lastUserText, (paid.get(lastUserText) ?? 0) + 1);
    }
    return paid;
  }

  /** Calls beyond the first of each prompt, failed ones included. */
  repeatedCalls(): number {
    const entries = this.simulator.journal.entries();
    return entries.length - new Set(entries.map((entry) => entry.lastUserText)).size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, exit } of this.#runs) {
      await endProcess(child);
      await exit;
    }
    await this.simulator.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
