import { readFileSync } from "node:fs";
import { join } from "node:path";
import xterm from "@xterm/headless";
import { inBundle } from "./bundled.ts";
import { outputOf, type StartedProcess, startProcess } from "./processes.ts";
import { waitFor } from "./wait-for.ts";

export interface TerminalOptions {
  columns: number;
  rows: number;
  env: Record<string, string>;
  cwd: string;
}

/** A program that runs in a pseudo terminal, and what a person sees there. */
export class Terminal {
  readonly run: StartedProcess;
  readonly #screen: xterm.Terminal;
  readonly #device: string;

  private constructor(run: StartedProcess, device: string, screen: xterm.Terminal) {
    this.run = run;
    this.#screen = screen;
    this.#device = device;
    run.child.stdout?.on("data", (text: string) => screen.write(text));
  }

  /** @param args of this Node.js */
  static async start(
    args: readonly string[],
    { columns, rows, env, cwd }: TerminalOptions,
  ): Promise<Terminal> {
    const device = join(cwd, "terminal-device");
    const words = [process.execPath, ...inBundle(args, cwd)]
      .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
      .join(" ");
    // Waits for a line, so that nothing is printed before somebody looks.
    const command = `stty cols ${columns} rows ${rows} -echo; tty > '${device}'; read start; exec ${words}`;
    const run = startProcess("script", ["-qec", command, "/dev/null"], {
      env: { TERM: "xterm-256color", SHELL: "/bin/sh", ...env },
      cwd,
    });
    const screen = new xterm.Terminal({ cols: columns, rows, scrollback: 1000, allowProposedApi: true });
    await waitFor("the pseudo terminal", () => deviceIn(device) !== "");
    const terminal = new Terminal(run, deviceIn(device), screen);
    run.child.stdin?.write("\n");
    return terminal;
  }

  /** What was printed, with the terminal's commands. */
  get raw(): string {
    return this.run.stdout();
  }

  /** Changes the size in mid-run. */
  async resize(columns: number, rows: number): Promise<void> {
    const tell = () => outputOf("stty", ["-F", this.#device, "cols", String(columns), "rows", String(rows)]);
    // A real terminal does both at once. Nothing that is drawn in between may be wider than the screen: it would be broken.
    const isNarrower = columns < this.#screen.cols;
    if (isNarrower) await tell();
    this.#screen.resize(columns, rows);
    if (!isNarrower) await tell();
  }

  /** Types text, such as Ctrl-C: `\u0003`. */
  type(text: string): void {
    this.run.child.stdin?.write(text);
  }

  /** Returns the lines that stand there, those that scrolled away included, without the empty ones at the end. */
  async lines(): Promise<string[]> {
    await new Promise<void>((done) => this.#screen.write("", done));
    const { active } = this.#screen.buffer;
    const lines = Array.from(
      { length: active.length },
      (_, i) => active.getLine(i)?.translateToString(true) ?? "",
    );
    return lines.slice(0, lines.findLastIndex((line) => line !== "") + 1);
  }
}

function deviceIn(path: string): string {
  try {
    const text = readFileSync(path, "utf8");
    return text.endsWith("\n") ? text.trim() : "";
  } catch {
    return "";
  }
}
