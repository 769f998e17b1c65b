import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A workflow engine in a process of its own, which is told what to run line by line. */
export class WorkflowPeer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(script: string, argument: string) {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, "workflows", script), argument], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { ...process.env, RESTATE_LOGGING: "ERROR" },
    });
    this.#lines = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  /** Resolves when it is ready. @param script of the folder workflows @param argument its folder or address */
  static async start(script: string, argument: string): Promise<WorkflowPeer> {
    const peer = new WorkflowPeer(script, argument);
    while ((await peer.#next()) !== "ready");
    return peer;
  }

  /** Returns the milliseconds that so many runs of so many steps took, all begun at once. */
  async run(kind: "local" | "calls" | "wide", runs: number, steps: number): Promise<number> {
    this.#child.stdin?.write(`${kind} ${runs} ${steps}\n`);
    return Number(await this.#next());
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#child.spawnargs[1]} ended with ${this.#child.exitCode}`);
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    await ended;
  }
}
