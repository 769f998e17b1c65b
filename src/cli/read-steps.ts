import type { GlueLLM } from "../client/glue-llm.ts";
import { JobLostError } from "../shared/errors.ts";
import type { RunStep } from "../workflows/run-status.ts";
import type { StepNode } from "./step-tree.ts";

const MAX_DEPTH = 10;
/** A call that runs for so long may have a reason. */
const EXPLAIN_AFTER_MS = 3000;
const MAX_EXPLAINED = 5;

/** A run's steps, each child run with its own. @throws JobLostError when there is no such run (any more). */
export async function readSteps(client: GlueLLM, runId: string): Promise<StepNode[]> {
  const nodes = await withChildren(client, runId, 0);
  await explain(client, nodes);
  return nodes;
}

async function withChildren(client: GlueLLM, runId: string, depth: number): Promise<StepNode[]> {
  const steps = await client.workflows.open(runId).steps();
  return Promise.all(
    steps.map(async (step) => ({ ...step, waitsFor: [], children: await childrenOf(client, step, depth) })),
  );
}

async function childrenOf(client: GlueLLM, { kind, job }: RunStep, depth: number): Promise<StepNode[]> {
  if (kind !== "child" || job === undefined || depth >= MAX_DEPTH) return [];
  try {
    return await withChildren(client, job, depth + 1);
  } catch (error) {
    // Asked for, and not started yet; or an earlier one that is kept no longer.
    if (error instanceof JobLostError) return [];
    throw error;
  }
}

/** Why calls do not run, of the first few that should have ended. */
async function explain(client: GlueLLM, nodes: readonly StepNode[]): Promise<void> {
  const late = lateCalls(nodes, Date.now() - EXPLAIN_AFTER_MS).slice(0, MAX_EXPLAINED);
  await Promise.all(
    late.map(async (node) => {
      const status = await client
        .handle(node.job ?? "")
        .status()
        .catch(() => undefined);
      node.waitsFor = status?.waitsFor ?? [];
    }),
  );
}

function lateCalls(nodes: readonly StepNode[], before: number): StepNode[] {
  return nodes.flatMap((node) => {
    const { kind, state, job, startedAt } = node;
    const isLate = state === "running" && job !== undefined && (startedAt?.getTime() ?? 0) < before;
    return [...(isLate && kind === "completion" ? [node] : []), ...lateCalls(node.children, before)];
  });
}
