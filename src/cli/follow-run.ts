import { setTimeout as delay } from "node:timers/promises";
import type { GlueLLM } from "../client/glue-llm.ts";
import type { WorkflowHandle } from "../client/workflow-handle.ts";
import { printable } from "./output.ts";
import { createLiveText } from "./progress/live-text.ts";
import { StepReader } from "./read-steps.ts";
import { type StepNode, stepLine, stepSum, stepTree } from "./step-tree.ts";

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
  const reader = new StepReader(client);
  const view = process.stderr.isTTY ? new LiveTree(run.id) : new StepLines(run.id);
  const output = run.result({ signal });
  const end = new AbortController();
  output.then(
    () => end.abort(),
    () => end.abort(),
  );
  while (!end.signal.aborted) {
    const startedAt = performance.now();
    await draw(reader, run, view).catch(() => {});
    const pauseMs = Math.max(view.intervalMs, (performance.now() - startedAt) / READ_SHARE);
    await delay(pauseMs, undefined, { signal: end.signal }).catch(() => {});
  }
  await draw(reader, run, view).catch(() => {});
  view.end();
  return output;
}

async function draw(reader: StepReader, run: WorkflowHandle, view: LiveTree | StepLines): Promise<void> {
  const [{ waitsFor }, steps] = await Promise.all([run.status(), reader.read(run.id)]);
  view.show({ waitsFor, steps });
}

/** One picture, drawn again and again. */
class LiveTree {
  readonly intervalMs = TERMINAL_MS;
  readonly #runId: string;
  readonly #live = createLiveText();

  constructor(runId: string) {
    this.#runId = runId;
  }

  show({ waitsFor, steps }: RunPicture): void {
    const { columns = 80, rows = MAX_LINES + 2 } = process.stderr;
    const notes = [...waitsFor.map((reason) => `waits for ${reason}`), ...answers(steps, this.#runId)];
    const maxLines = Math.min(MAX_LINES, Math.max(3, rows - 2 - notes.length));
    const tree = stepTree(steps, { now: Date.now(), columns, maxLines });
    this.#live.draw([...tree, ...notes.map(printable)]);
  }

  end(): void {
    this.#live.end();
  }
}

/** The commands that answer the signals which a run and its child runs wait for. */
export function answers(steps: readonly StepNode[], runId: string): string[] {
  return steps.flatMap(({ kind, state, subject, job, children }) => {
    const isOpen = kind === "signal" && state === "running";
    const own = isOpen ? [`answer it: gluellm workflow signal ${runId} ${subject} '{…}'`] : [];
    return [...own, ...answers(children, job ?? runId)];
  });
}

/** Each step once, when it has ended; each reason to wait once. */
export class StepLines {
  readonly intervalMs = PLAIN_MS;
  readonly #runId: string;
  readonly #told = new Set<string>();
  #steps: readonly StepNode[] = [];

  constructor(runId: string) {
    this.#runId = runId;
  }

  show({ waitsFor, steps }: RunPicture): void {
    this.#steps = steps;
    for (const reason of waitsFor) this.#tell(`waits for ${reason}`);
    this.#showSteps(steps, "");
    for (const answer of answers(steps, this.#runId)) this.#tell(answer);
  }

  end(): void {
    this.#tell(stepSum(this.#steps, Date.now()));
  }

  #showSteps(steps: readonly StepNode[], prefix: string): void {
    for (const step of steps) {
      const path = `${prefix}${step.step}`;
      this.#showSteps(step.children, `${path} › `);
      if (step.state === "running" && step.kind !== "signal") {
        for (const reason of step.waitsFor) this.#tell(`${path} waits for ${reason}`);
      } else this.#tell(stepLine(path, step, Date.now()), `${path} ${step.state}`);
    }
  }

  #tell(line: string, key = line): void {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    process.stderr.write(`${printable(line)}\n`);
  }
}
