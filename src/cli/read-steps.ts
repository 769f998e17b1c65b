import type { GlueLLM } from "../client/glue-llm.ts";
import { JobLostError } from "../shared/errors.ts";
import type { RunStep } from "../workflows/run-status.ts";
import type { StepNode } from "./step-tree.ts";

const MAX_DEPTH = 10;
/** A call that runs for so long may have a reason. */
const EXPLAIN_AFTER_MS = 3000;
const MAX_EXPLAINED = 5;

/** Reads a run's steps, each child run with its own, again and again. */
export class StepReader {
  readonly #client: GlueLLM;
  /** The steps of child runs that have ended, which are not read again. */
  readonly #ended = new Map<string, StepNode[]>();

  constructor(client: GlueLLM) {
    this.#client = client;
  }

  /** @throws JobLostError when there is no such run (any more). */
  async read(runId: string): Promise<StepNode[]> {
    const nodes = await this.#nodes(runId, 0);
    await this.#explain(nodes);
    return nodes;
  }

  async #nodes(runId: string, depth: number): Promise<StepNode[]> {
    const steps = await this.#client.workflows.open(runId).steps();
    return Promise.all(
      steps.map(async (step) => ({ ...step, waitsFor: [], children: await this.#children(step, depth) })),
    );
  }

  async #children({ kind, state, job }: RunStep, depth: number): Promise<StepNode[]> {
    if (kind !== "child" || job === undefined || depth >= MAX_DEPTH) return [];
    const known = this.#ended.get(job);
    if (known) return known;
    try {
      const nodes = await this.#nodes(job, depth + 1);
      if (state !== "running") this.#ended.set(job, nodes);
      return nodes;
    } catch (error) {
      // Asked for, and not started yet; or an earlier one that is kept no longer.
      if (error instanceof JobLostError) return [];
      throw error;
    }
  }

  /** Why calls do not run, of the first few that should have ended. */
  async #explain(nodes: readonly StepNode[]): Promise<void> {
    const late = lateCalls(nodes, Date.now() - EXPLAIN_AFTER_MS).slice(0, MAX_EXPLAINED);
    await Promise.all(
      late.map(async (node) => {
        const handle = this.#client.handle(node.job ?? "");
        const status = await handle.status().catch(() => undefined);
        node.waitsFor = status?.waitsFor ?? [];
      }),
    );
  }
}

function lateCalls(nodes: readonly StepNode[], before: number): StepNode[] {
  return nodes.flatMap((node) => {
    const { kind, state, job, startedAt } = node;
    const isLate = state === "running" && job !== undefined && (startedAt?.getTime() ?? 0) < before;
    return [...(isLate && kind === "completion" ? [node] : []), ...lateCalls(node.children, before)];
  });
}
