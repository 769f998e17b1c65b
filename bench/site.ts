import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stopEmbeddedRedis } from "../src/embedded-redis/embedded-redis.ts";
import { holdEmbeddedRedis } from "../src/embedded-redis/hold.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { sumQuestion } from "./calls.ts";
import { threadsMsOf } from "./threads.ts";

const MAIN = join(import.meta.dirname, "../src/cli/main.ts");

/** A served API. */
export interface ApiProcess {
  child: ChildProcess;
  worker: ChildProcess;
  /** With `/v1`. */
  url: string;
  /** One that may do everything. */
  key: string;
  rssBytes(): number;
  /** CPU that the API has used so far, and its worker. */
  cpuMs(): { api: number; worker: number };
  close(): Promise<void>;
}

/** A folder with a Redis and a 0 ms provider of its own, the provider in another process. */
export class BenchSite implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "gluellm-bench-"));
  readonly #dataDir = join(this.folder, "data");
  /** What processes tell on standard error. */
  readonly logPath = join(this.folder, "log.txt");
  readonly #log = openSync(this.logPath, "a");
  socketPath = "";
  providerUrl = "";
  /** Of the processes that are started from now on, beside their own. */
  env: Record<string, string> = {};
  #release: () => void = () => {};
  #simulator: ChildProcess | undefined;

  static async open(): Promise<BenchSite> {
    const site = new BenchSite();
    const { system } = loadSettings();
    const redis = await holdEmbeddedRedis({ dataDir: site.#dataDir, system });
    site.socketPath = redis.socketPath;
    site.#release = () => redis.release();
    const simulate = "simulate --port 0 --latency 0 --jitter 0".split(" ");
    site.#simulator = spawn(process.execPath, [MAIN, ...simulate]);
    const [line] = (await once(site.#simulator.stdout ?? site.#simulator, "data")) as [Buffer];
    site.providerUrl = /http:\/\/[\d.:]+/.exec(String(line))?.[0] ?? "";
    return site;
  }

  writeRows(name: string, count: number, promptOf = sumQuestion): string {
    const path = join(this.folder, name);
    const rows = Array.from({ length: count }, (_, n) =>
      JSON.stringify({ custom_id: `row-${n}`, prompt: promptOf(n), max_tokens: 16 }),
    );
    writeFileSync(path, `${rows.join("\n")}\n`);
    return path;
  }

  /** Starts a process of the product or of a peer; `exit` resolves with its exit code. */
  run(
    script: string,
    args: readonly string[],
    env: Record<string, string> = {},
  ): { child: ChildProcess; exit: Promise<number> } {
    const child = spawn(process.execPath, [script, ...args], {
      cwd: this.folder,
      stdio: ["ignore", "inherit", this.#log],
      env: { ...this.processEnv, ...env },
    });
    return { child, exit: once(child, "close").then(([code]) => code as number) };
  }

  /** Starts a process of the command line. */
  command(args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
    return this.run(MAIN, args, env).child;
  }

  /** Starts `gluellm api` and a worker; what is given is the worker's. */
  async serveApi(...workerOptions: string[]): Promise<ApiProcess> {
    const worker = this.run(MAIN, ["worker", ...workerOptions]);
    const child = spawn(process.execPath, [MAIN, "api", "--port", "0"], {
      cwd: this.folder,
      stdio: ["ignore", "ignore", "pipe"],
      env: this.processEnv,
    });
    let told = "";
    const line = /^export OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(gk_\S+)$/m;
    child.stderr?.on("data", (text) => (told += text));
    while (!line.test(told)) await once(child.stderr ?? child, "data");
    const [, url = "", key = ""] = line.exec(told) ?? [];
    return {
      ...{ child, worker: worker.child },
      url,
      key,
      rssBytes: () =>
        Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) * 1024,
      cpuMs: () => ({ api: threadsMsOf(child.pid), worker: threadsMsOf(worker.child.pid) }),
      close: async () => {
        const ended = [once(child, "close"), worker.exit];
        child.kill();
        worker.child.kill();
        await Promise.all(ended);
      },
    };
  }

  /** The environment of its processes. */
  get processEnv() {
    return {
      PATH: process.env.PATH,
      GLUELLM_REDIS_URL: `unix://${this.socketPath}`,
      SIMULATOR_BASE_URL: `${this.providerUrl}/v1`,
      GLUELLM_DATA_DIR: this.#dataDir,
      ...this.env,
    };
  }

  /** Starts `gluellm batch run`; `report` resolves with its report. */
  batch(input: string, output: string, ...options: string[]) {
    const files = [input, "-o", output, "--report", `${output}.report`];
    const args = ["batch", "run", ...files, "-m", "simulator:bench", ...options];
    const { child, exit } = this.run(MAIN, args);
    const report = exit.then((code) => {
      if (code !== 0) throw new Error(`the batch ended with ${code}`);
      this.#checkDelivery(input, output);
      return JSON.parse(readFileSync(join(this.folder, `${output}.report`), "utf8")) as {
        total: number;
        durationMs: number;
        cacheHits: number;
      };
    });
    return { child, report };
  }

  /** @throws Error when a row has no answer, or more than one */
  #checkDelivery(input: string, output: string): void {
    const idsIn = (path: string) =>
      readFileSync(path, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).custom_id as string);
    const [asked, answered] = [idsIn(input), idsIn(join(this.folder, output))];
    if (asked.join() !== answered.join())
      throw new Error("the output is not one answer for each row, in their order");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#simulator?.kill();
    this.#release();
    closeSync(this.#log);
    await stopEmbeddedRedis({ dataDir: this.#dataDir, system: loadSettings().system });
    rmSync(this.folder, { recursive: true, force: true });
  }
}
