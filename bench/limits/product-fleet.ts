import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { redisKeys } from "../../src/store/redis-keys.ts";
import type { Bench } from "./bench.ts";
import { drawTokens, messageOf, type Sizes, uniqueName } from "./load.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

export interface BatchReport {
  total: number;
  succeeded: number;
  failed: number;
  durationMs: number;
}

/** `gluellm worker` processes, and a `gluellm batch run` that leaves all calls to them. */
export class ProductFleet implements AsyncDisposable {
  readonly #bench: Bench;
  readonly #env: Record<string, string>;
  readonly #workers: ChildProcess[] = [];
  #batch: ChildProcess | undefined;
  /** Its namespace, and its model at the provider. */
  readonly name = uniqueName();

  constructor(bench: Bench, env: Record<string, string> = {}) {
    this.#bench = bench;
    this.#env = env;
  }

  get keys() {
    return redisKeys(this.name);
  }

  /** Resolves when it runs. */
  async addWorker(env: Record<string, string> = {}): Promise<void> {
    const worker = this.#spawn(["worker"], "pipe", env);
    this.#workers.push(worker);
    await once(worker.stderr ?? worker, "data");
    worker.stderr?.resume();
  }

  killWorker(index: number): void {
    this.#workers[index]?.kill("SIGKILL");
  }

  /** Resolves when all rows have their result. */
  async runBatch(rows: readonly string[]): Promise<BatchReport> {
    const [input, output, report] = ["in", "out", "report"].map((part) => this.#path(`${part}.jsonl`));
    writeFileSync(input!, rows.join(""));
    const model = `simulator:${this.name}`;
    this.#batch = this.#spawn(
      ["batch", "run", input!, "-o", output!, "-m", model, "--workers", "0", "--report", report!],
      "ignore",
    );
    await once(this.#batch, "close");
    return JSON.parse(readFileSync(report!, "utf8")) as BatchReport;
  }

  /** How often a breaker opened. */
  async breakerOpenings(): Promise<number> {
    return Number(await this.#bench.redis.hget(this.keys.breaker(`simulator:${this.name}`), "opened"));
  }

  #path(file: string): string {
    return join(this.#bench.folder, `${this.name}-${file}`);
  }

  #spawn(args: string[], stderr: "pipe" | "ignore", env: Record<string, string> = {}): ChildProcess {
    return spawn(process.execPath, [MAIN, ...args], {
      cwd: this.#bench.folder,
      stdio: ["ignore", "ignore", stderr],
      env: {
        PATH: process.env.PATH,
        GLUELLM_REDIS_URL: `unix://${this.#bench.redisSocket}`,
        GLUELLM_NAMESPACE: this.name,
        SIMULATOR_BASE_URL: `${this.#bench.providerUrl}/v1`,
        ...this.#env,
        ...env,
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const children = [...this.#workers, ...(this.#batch ? [this.#batch] : [])];
    const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    for (const child of running) child.kill("SIGKILL");
    await Promise.all(running.map((child) => once(child, "close")));
  }
}

/** As callers do, a row asks for more tokens than its answer takes. */
export function rowOf(n: number, sizes: Sizes): string {
  const tokens = drawTokens(sizes);
  const row = {
    custom_id: `row-${n}`,
    prompt: messageOf(`row-${n}`, tokens),
    max_tokens: Math.ceil(tokens * 1.5),
  };
  return `${JSON.stringify(row)}\n`;
}
