import type { GlueLLM } from "../client/glue-llm.ts";
import type { WorkflowHandle } from "../client/workflow-handle.ts";
import { answers, StepLines } from "./follow-run.ts";
import { printable } from "./output.ts";
import { createLiveText, type LiveText } from "./progress/live-text.ts";
import { fitted } from "./progress/text-layout.ts";
import { StepReader } from "./read-steps.ts";
import { durationText, stepTree } from "./step-tree.ts";

const [TERMINAL_MS, PLAIN_MS] = [300, 500];
/** Of the latest runs, as many as fit. */
const MAX_RUNS = 5;
const MAX_LINES = 40;

/** The latest runs of the fleet: trees in place on a terminal, a line per event elsewhere. */
export class LiveRuns {
  readonly #client: GlueLLM;
  readonly #reader: StepReader;
  readonly #live: LiveText | undefined;
  /** Of runs that are told line by line. */
  readonly #told = new Map<string, { state: string; lines: StepLines }>();
  readonly #since = Date.now();

  constructor(client: GlueLLM) {
    this.#client = client;
    this.#reader = new StepReader(client);
    this.#live = process.stderr.isTTY ? createLiveText() : undefined;
  }

  get intervalMs(): number {
    return this.#live ? TERMINAL_MS : PLAIN_MS;
  }

  /** Says something above the trees. */
  say(line: string): void {
    process.stderr.write(`${printable(line)}\n`);
  }

  /** Shows how the runs stand. While Redis is away they stay as they were. */
  async draw(): Promise<void> {
    try {
      if (this.#live) await this.#drawTrees(this.#live);
      else await this.#tellEvents();
    } catch {
      // The next look may find it again.
    }
  }

  end(): void {
    this.#live?.end();
  }

  async #drawTrees(live: LiveText): Promise<void> {
    const { columns = 80, rows = MAX_LINES } = process.stderr;
    const runs = await this.#client.workflows.list({ limit: MAX_RUNS });
    // The latest one stands at the bottom, where one looks.
    const parts = await Promise.all([...runs].reverse().map((run) => this.#tree(run, columns)));
    const lines = parts.flat();
    const shown = lines.slice(-Math.max(3, Math.min(MAX_LINES, rows - 2)));
    live.draw(
      shown.length > 0 ? shown : ["no runs yet: gluellm workflow run NAME --workers 0 --module FILE"],
    );
  }

  async #tree(run: WorkflowHandle, columns: number): Promise<string[]> {
    const [status, steps] = await Promise.all([run.status(), this.#reader.read(run.id)]);
    const now = Date.now();
    const age = durationText((status.finishedAt?.getTime() ?? now) - status.createdAt.getTime());
    const head = `${status.workflow}  ${run.id}  ${status.state}  ${age}`;
    const tree = stepTree(steps, { now, columns: columns - 2 }).map((line) => `  ${line}`);
    const error = status.error ? [`${status.error.code}: ${status.error.message.split("\n")[0]}`] : [];
    const waits = status.waitsFor.map((reason) => `waits for ${reason}`);
    const notes = [...error, ...waits, ...answers(steps, run.id)].map((note) => `  ${printable(note)}`);
    return [printable(head), ...tree, ...notes].map((line) => fitted(line, columns, { from: "end" }));
  }

  async #tellEvents(): Promise<void> {
    const runs = await this.#client.workflows.list({ limit: 100, from: this.#since });
    for (const run of [...runs].reverse()) {
      const { workflow = "", state = "" } = run.listed ?? {};
      const known = this.#told.get(run.id);
      if (known && known.state === state && state !== "running") continue;
      if (!known) this.say(`run ${run.id}  ${workflow}  begins`);
      const told = known ?? { state, lines: new StepLines(run.id) };
      const [{ waitsFor, error }, steps] = await Promise.all([run.status(), this.#reader.read(run.id)]);
      told.lines.show({ waitsFor, steps });
      this.#told.set(run.id, { ...told, state });
      if (state === "running") continue;
      this.say(`run ${run.id}  ${workflow}  ${state}${error ? `  ${error.code}: ${error.message}` : ""}`);
    }
  }
}
