import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import type { CloseStack } from "../../shared/close-stack.ts";
import { loadSettings, type Settings } from "../../shared/settings.ts";
import { endEmbeddedRedis } from "../compose.ts";
import { PRICES } from "./bill.ts";

export const MODEL = "simulator:demo";

const SUBJECTS = ["a late parcel", "a broken lamp", "a wrong invoice", "a lost password", "a missing refund"];
const TONES = ["brief", "warm", "formal", "cheerful"];

/** A worker process of the demo. */
export interface DemoWorker {
  name: string;
  /** Its key at the provider, by which the journal tells workers apart. */
  key: string;
  pid: number;
  /** Ends it as `kill -9` does. */
  kill(): void;
}

/** The folder, the settings and the worker processes of one demo; all of it is gone when `parts` is closed. */
export class DemoSite {
  readonly settings: Settings;
  readonly inputPath: string;
  readonly outputPath: string;
  readonly #folder: string;
  readonly #environment: Record<string, string>;
  readonly #parts: CloseStack;
  #workers = 0;

  /** @param simulatorUrl without `/v1` */
  constructor(parts: CloseStack, simulatorUrl: string, rows: number) {
    this.#parts = parts;
    const folder = mkdtempSync(join(tmpdir(), "gluellm-demo-"));
    this.#folder = folder;
    const remove = () => rmSync(folder, { recursive: true, force: true });
    // A second Ctrl-C ends the process at once.
    process.once("exit", remove);
    parts.defer(() => {
      process.off("exit", remove);
      remove();
    });
    this.#environment = demoEnvironment(folder, simulatorUrl);
    this.settings = loadSettings({ env: this.#environment, cwd: folder });
    parts.defer(() => endEmbeddedRedis(this.settings));
    this.inputPath = join(folder, "tickets.jsonl");
    this.outputPath = join(folder, "answers.jsonl");
    writeFileSync(this.inputPath, tickets(rows));
  }

  /** Starts one more worker process; it ends with this one. */
  startWorker(concurrency: number): DemoWorker {
    const name = String.fromCharCode("A".charCodeAt(0) + this.#workers++);
    const key = `demo-worker-${name}`;
    const main = join(import.meta.dirname, "..", `main${extname(import.meta.filename)}`);
    const args = [main, "worker", "--exit-with-parent", "--concurrency", String(concurrency)];
    const log = openSync(join(this.#folder, "workers.log"), "a");
    const child = spawn(process.execPath, args, {
      cwd: this.#folder,
      env: { ...this.#environment, SIMULATOR_API_KEY: key },
      stdio: ["pipe", "ignore", log],
    });
    closeSync(log);
    // A killed worker's input breaks.
    child.stdin?.on("error", () => {});
    const ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
    this.#parts.defer(async () => {
      child.kill("SIGTERM");
      await ended;
    });
    return { name, key, pid: child.pid ?? 0, kill: () => child.kill("SIGKILL") };
  }
}

/** All that the demo's processes see: nothing of the user's settings changes it, and it reaches nothing of theirs. */
function demoEnvironment(folder: string, simulatorUrl: string): Record<string, string> {
  const { cacheDir, runtimeDir, searchPath, terminal, proxyVariables } = loadSettings({
    ignoreBareRedisUrl: true,
  }).system;
  return {
    ...proxyVariables,
    NO_PROXY: "127.0.0.1",
    PATH: searchPath,
    XDG_CACHE_HOME: dirname(cacheDir),
    XDG_RUNTIME_DIR: runtimeDir,
    // As bin/gluellm.js has it: a worker starts in half the time.
    NODE_COMPILE_CACHE: join(cacheDir, "compiled"),
    TERM: terminal,
    SIMULATOR_BASE_URL: `${simulatorUrl}/v1`,
    GLUELLM_DATA_DIR: join(folder, "data"),
    GLUELLM_NAMESPACE: "demo",
    GLUELLM_PRICES: JSON.stringify({ [MODEL]: PRICES }),
    // The jobs of a killed worker go on after at most 12 s, not 15 and more: a demo is short. A slow machine keeps such locks.
    GLUELLM_LOCK_MS: "8000",
  };
}

function tickets(rows: number): string {
  const lines = Array.from({ length: rows }, (_, i) => {
    const subject = SUBJECTS[i % SUBJECTS.length];
    const tone = TONES[i % TONES.length];
    const prompt = `Write a ${tone} answer to ticket ${i + 1}: the customer asks about ${subject}.`;
    return JSON.stringify({ custom_id: `ticket-${i + 1}`, prompt });
  });
  return `${lines.join("\n")}\n`;
}
