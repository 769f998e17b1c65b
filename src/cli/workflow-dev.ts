import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, type FSWatcher, readdirSync, watch } from "node:fs";
import { dirname, extname, join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { GlueLLM } from "../client/glue-llm.ts";
import { InputError } from "../shared/errors.ts";
import { within } from "../shared/within.ts";
import { onInterruption } from "./exit.ts";
import { LiveRuns } from "./live-runs.ts";
import { serve } from "./serve.ts";

/** Files whose change may change what the module does. Data is none of it: runs may write that themselves. */
const CODE = new Set([".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"]);
const MAX_FOLDERS = 1000;
/** An editor saves in several steps. */
const SETTLE_MS = 150;
/** How long a worker with old code has to let go of its runs, which the next one goes on with. */
const LET_GO_MS = 3000;
const CLOSE_MS = 35_000;
const NOTICE = "stopping: calls in flight finish (again to exit now)";

/** `gluellm workflow dev`. */
export function addDevCommand(workflow: Command): void {
  workflow
    .command("dev")
    .description(
      "Work on a module of workflows: a worker that begins anew with each change of its folder, and its runs as live trees.",
    )
    .argument("<module>", "a module that exports workflows")
    .addHelpText(
      "after",
      "\nWithout a configured Redis it uses the embedded one, as the other commands do. Runs that are under way go on with" +
        "\nthe changed code, from what they have recorded. In another terminal: gluellm workflow run NAME --workers 0 --module FILE",
    )
    .action(dev);
  workflow
    .command("dev-worker", { hidden: true })
    .argument("<module>")
    .action((module: string) =>
      serve({
        workers: true,
        dashboard: false,
        module: [module],
        needsWorkflows: true,
        exitWithParent: true,
      }),
    );
}

async function dev(module: string): Promise<void> {
  const file = resolve(module);
  if (!existsSync(file))
    throw new InputError(`there is no module ${module}`, "give a JavaScript or TypeScript file");
  const interruption = onInterruption(process.stderr.isTTY ? undefined : NOTICE);
  await using client = new GlueLLM({ mode: "fleet" });
  // Opens Redis, so that its faults are said before anything else.
  await client.workflows.list({ limit: 1 });
  const view = new LiveRuns(client);
  const worker = new DevWorker(module, (line) => view.say(line));
  using _ = watchCode(dirname(file), (path) => {
    view.say(`changed: ${relative(process.cwd(), path)}`);
    worker.restart();
  });
  worker.restart();
  while (!interruption.signal.aborted) {
    await view.draw();
    await delay(view.intervalMs, undefined, { signal: interruption.signal }).catch(() => {});
  }
  view.end();
  await worker.close();
  process.exitCode = interruption.exitCode ?? 0;
}

/** The worker process with the module's present code. */
class DevWorker {
  readonly #module: string;
  readonly #say: (line: string) => void;
  #child: ChildProcess | undefined;
  #restarting: Promise<void> = Promise.resolve();
  #isDue = false;
  #isClosing = false;

  constructor(module: string, say: (line: string) => void) {
    this.#module = module;
    this.#say = say;
  }

  /** Begins anew with the code as it is; changes that come meanwhile are one more beginning. */
  restart(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#restarting = this.#restarting.then(async () => {
      await delay(SETTLE_MS);
      this.#isDue = false;
      await this.#stop(LET_GO_MS);
      if (!this.#isClosing) this.#start();
    });
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#restarting;
    await this.#stop(CLOSE_MS);
  }

  #start(): void {
    const bin = process.argv[1] ?? "";
    const child = spawn(
      process.execPath,
      [...process.execArgv, bin, "workflow", "dev-worker", this.#module],
      {
        // When this process is killed, its worker finds its standard input closed.
        stdio: ["pipe", "pipe", "pipe"],
      },
    );
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#say(line));
    }
    child.once("exit", (code, signal) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
      this.#say(`the worker ${how}; it begins anew with the next change of the module's folder`);
    });
  }

  async #stop(ms: number): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    await within(ms, exit);
    // A second signal ends it at once; its runs go to the next worker, which finds what they have recorded.
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await exit;
  }
}

/** Tells of changes of code in a folder and those below it, but for packages and hidden folders. */
function watchCode(folder: string, onChange: (path: string) => void): Disposable {
  const watchers: FSWatcher[] = foldersIn(folder).map((dir) => {
    const watcher = watch(dir, (_event, name) => {
      if (name !== null && CODE.has(extname(name))) onChange(join(dir, name));
    });
    // A folder that goes away needs no watching.
    watcher.on("error", () => watcher.close());
    return watcher;
  });
  return {
    [Symbol.dispose]: () => {
      for (const watcher of watchers) watcher.close();
    },
  };
}

function foldersIn(folder: string): string[] {
  const found = [folder];
  for (const dir of found) {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const isOwn = entry.isDirectory() && entry.name !== "node_modules" && !entry.name.startsWith(".");
      if (isOwn && found.length < MAX_FOLDERS) found.push(join(dir, entry.name));
    }
  }
  return found;
}
