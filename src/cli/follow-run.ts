import { setTimeout as delay } from "node:timers/promises";
import { createLogUpdate } from "log-update";
import type { GlueLLM } from "../client/glue-llm.ts";
import type { WorkflowHandle } from "../client/workflow-handle.ts";
import { printable } from "./output.ts";
import { readSteps } from "./read-steps.ts";
import { type StepNode, stepLine, stepTree } from "./step-tree.ts";

const TERMINAL_MS = 300;
const PLAIN_MS = 1000;
/** Long runs are read less often: reading takes at most this share of the time. */
const READ_SHARE = 0.1;
const MAX_LINES = 20;

interface RunPicture {
  waitsFor: readonly string[];
  steps: readonly StepNode[];
}

/**
 * Waits for a run's output and shows its steps on standard error meanwhile: a tree in place on a terminal, a line per
 * ended step elsewhere.
 * @throws as the handle's `result`
 */
export async function followRun(client: GlueLLM, run: WorkflowHandle, signal: AbortSignal): Promise<unknown> {
  const view = process.stderr.isTTY ? new LiveTree() : new StepLines(run.id);
  const output = run.result({ signal });
  const end = new AbortController();
  output.then(
    () => end.abort(),
    () => end.abort(),
  );
  while (!end.signal.aborted) {
    const startedAt = performance.now();
    await draw(client, run, view).catch(() => {});
    const pauseMs = Math.max(view.intervalMs, (performance.now() - startedAt) / READ_SHARE);
    await delay(pauseMs, undefined, { signal: end.signal }).catch(() => {});
  }
  await draw(client, run, view).catch(() => {});
  view.end();
  return output;
}

async function draw(client: GlueLLM, run: WorkflowHandle, view: LiveTree | StepLines): Promise<void> {
  const [{ waitsFor }, steps] = await Promise.all([run.status(), readSteps(client, run.id)]);
  view.show({ waitsFor, steps });
}

/** One picture, drawn again and again. */
class LiveTree {
  readonly intervalMs = TERMINAL_MS;
  readonly #update = createLogUpdate(process.stderr);

  show({ waitsFor, steps }: RunPicture): void {
    const { columns = 80, rows = MAX_LINES + 2 } = process.stderr;
    const maxLines = Math.min(MAX_LINES, Math.max(3, rows - 2 - waitsFor.length));
    const reasons = waitsFor.map((reason) => printable(`waits for ${reason}`));
    this.#update([...stepTree(steps, { now: Date.now(), columns, maxLines }), ...reasons].join("\n"));
  }

  end(): void {
    this.#update.done();
  }
}

/** Each step once, when it has ended; each reason to wait once. */
class StepLines {
  readonly intervalMs = PLAIN_MS;
  readonly #runId: string;
  readonly #told = new Set<string>();

  constructor(runId: string) {
    this.#runId = runId;
  }

  show({ waitsFor, steps }: RunPicture): void {
    for (const reason of waitsFor) this.#tell(`waits for ${reason}`);
    this.#showSteps(steps, "", this.#runId);
  }

  end(): void {}

  #showSteps(steps: readonly StepNode[], prefix: string, runId: string): void {
    for (const step of steps) {
      const path = `${prefix}${step.step}`;
      this.#showSteps(step.children, `${path} › `, step.job ?? runId);
      const line = stepLine(path, step, Date.now());
      if (step.state !== "running") this.#tell(line, path);
      else if (step.kind === "signal") {
        this.#tell(`${line}: gluellm workflow signal ${runId} ${step.subject} '{…}'`, `${path} waits`);
      } else for (const reason of step.waitsFor) this.#tell(`${path} waits for ${reason}`);
    }
  }

  #tell(line: string, key = line): void {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    process.stderr.write(`${printable(line)}\n`);
  }
}
