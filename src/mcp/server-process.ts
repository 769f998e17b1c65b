import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { within } from "../shared/within.ts";
import { MARK, noteServer } from "./server-records.ts";

/** How long a server has to end when its standard input ends, and then after SIGTERM. */
const END_MS = 2000;
/** A process that left the group may hold the pipes open. */
const READ_MS = 500;

/** How a server is started. */
export interface ServerCommand {
  command: string;
  args: readonly string[];
  /** All of its environment. */
  env: Readonly<Record<string, string>>;
  cwd: string | undefined;
}

/** The groups of this process's servers. */
const running = new Set<ServerProcess>();
let isHooked = false;

/**
 * A server in a process group of its own, with whatever it starts: it ends with all of them. A worker that is killed leaves a record, by
 * which the next one ends what is left (`endOrphanServers`).
 */
export class ServerProcess {
  readonly child: ChildProcessWithoutNullStreams;
  /** The process, and all that it started, have ended, and what they wrote has been read. */
  readonly ended: Promise<void>;
  readonly #forget: () => void;

  private constructor(child: ChildProcessWithoutNullStreams, forget: () => void) {
    this.child = child;
    this.#forget = forget;
    running.add(this);
    const closed = once(child, "close");
    this.ended = once(child, "exit").then(async () => {
      this.#kill("SIGKILL");
      running.delete(this);
      this.#forget();
      await within(READ_MS, closed);
    });
  }

  /** @throws Error of the operating system when there is no such command */
  static async start({ command, args, env, cwd }: ServerCommand, dataDir: string): Promise<ServerProcess> {
    endAllWithProcess();
    const mark = randomUUID();
    const child = spawn(command, [...args], {
      ...{ cwd, env: { ...env, [MARK]: mark } },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      windowsHide: true,
    });
    const { pid } = child;
    const forget = pid === undefined ? () => {} : noteServer(dataDir, pid, mark);
    // A pipe that breaks says no more than the end of the process.
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => {});
    await once(child, "spawn");
    return new ServerProcess(child, forget);
  }

  /** Asks the server to end, then has it and all that it started ended. */
  async end(): Promise<void> {
    this.child.stdin.end();
    await within(END_MS, this.ended);
    if (!running.has(this)) return;
    this.#kill("SIGTERM");
    await within(END_MS, this.ended);
    this.kill();
    await this.ended;
  }

  kill(): void {
    if (running.has(this)) this.#kill("SIGKILL");
  }

  #kill(signal: NodeJS.Signals): void {
    try {
      process.kill(-(this.child.pid as number), signal);
    } catch {
      // None of them is left.
    }
  }
}

/** A process that ends without draining takes its servers along. */
function endAllWithProcess(): void {
  if (isHooked) return;
  isHooked = true;
  process.on("exit", () => {
    for (const server of running) server.kill();
  });
}
