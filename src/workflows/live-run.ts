import type { ModelNames } from "../calls/model-chain.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import type { Tool } from "../shared/tool.ts";
import type { RunRecord } from "../store/run-record.ts";
import { Execution } from "./execution.ts";
import { currentContext, RunContext } from "./run-context.ts";
import { Seeds } from "./seeds.ts";
import type { AnyWorkflow } from "./workflow.ts";

/** A run's function in this process's memory. */
export interface LiveRun {
  execution: Execution;
  metadata: Map<string, unknown>;
}

export interface LiveRunOptions {
  workflow: AnyWorkflow;
  run: RunRecord;
  /** As it was started with. */
  input: unknown;
  settings: Settings;
  defaultModel: ModelNames;
  offerTool: (tool: Tool) => void;
  functions: ReadonlyMap<string, StepFunction>;
  logger: Logger;
}

/** The function at its beginning; a turn starts it. */
export function createLiveRun({ workflow, run, input, ...options }: LiveRunOptions): LiveRun {
  const metadata = new Map<string, unknown>();
  const execution = new Execution(run.createdAt, async () => {
    const checked = checkWith(workflow.input, input, `the input of workflow "${workflow.name}"`);
    const { id: runId, version } = run;
    const seeds = new Seeds(run.seed, run.forks);
    const shared = { runId, version, seeds, execution, metadata, counts: new Map<string, number>() };
    const context = new RunContext({ ...shared, ...options });
    return currentContext.run(context, () => workflow.run(context, checked));
  });
  return { execution, metadata };
}

/** Fields of the run's record that show how it stands. */
export function standingOf({ execution, metadata }: LiveRun): string[] {
  const totals = Object.entries(execution.totals).flatMap(([field, value]) => [field, String(value)]);
  if (metadata.size === 0) return totals;
  return [...totals, "metadata", JSON.stringify(Object.fromEntries(metadata))];
}
