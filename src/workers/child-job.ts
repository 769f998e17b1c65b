import type { AgentTool } from "../shared/agent.ts";
import { modelRef } from "../shared/model-name.ts";
import { runInTool } from "../shared/tool-run.ts";
import { readCompleted } from "../store/completed-record.ts";
import type { JobWaits } from "../store/job-waits.ts";
import { clockOf } from "../store/redis-clock.ts";
import { readRecord } from "../store/result-record.ts";
import type { WorkerContext } from "./context.ts";
import type { LoopInput } from "./loop-input.ts";
import { boundedText, failure, type ToolOutcome } from "./tool-output.ts";

/** The least time that an agent behind a tool gets. */
const MIN_CHILD_MS = 1000;

/** A call of an agent's tool: where it stands in its job, and what the agent is asked. */
export interface ChildPlace {
  place: string;
  /** The same each time that the call is taken up. */
  executionId: string;
  input: string;
}

/**
 * What an agent answered to a call of its tool, or the id of the job in which it will: that is begun here the first time.
 * @throws as the caller of a model does
 */
export async function childAnswer(
  context: WorkerContext,
  input: LoopInput,
  waits: JobWaits,
  tool: AgentTool,
  call: ChildPlace,
): Promise<ToolOutcome | string> {
  const jobId = waits.children.get(call.place) ?? (await begin(context, input, tool, call));
  if (jobId === undefined) return failure("tool_failed", "this worker cannot begin jobs of agents");
  const { store } = context;
  const record = await readRecord(store, jobId);
  if (!record) return jobId;
  if (record.error || !record.response) {
    const { code = "job_lost", message = "its job left no answer" } = record.error ?? {};
    return failure("agent_failed", `the agent ${tool.agent.name} failed (${code}): ${message}`);
  }
  const { body, output } = await readCompleted(store, record, record.response);
  const { content, refusal } = body.choices[0]?.message ?? {};
  return { result: boundedText(output ?? (content || refusal || ""), tool.maxOutputBytes) };
}

async function begin(
  { store, startChild }: WorkerContext,
  { payload, jobId, queue, priority, signal }: LoopInput,
  { agent }: AgentTool,
  { executionId, input }: ChildPlace,
): Promise<string | undefined> {
  if (!startChild) return undefined;
  const { provider, model, fallbacks = [], nesting = 0, tenant, by, conversation, context = {} } = payload;
  const targets = [{ provider, model }, ...fallbacks];
  const run = {
    ...{ executionId, conversation: conversation?.id, owner: { tenant, by }, nesting: nesting + 1, signal },
    requests: new Map<string, number>(),
  };
  const call = {
    ...{ agent, message: input, context, priority, traceparent: payload.traceparent },
    models: targets.map((target) => modelRef(target.provider.entry, target.model).key),
    parent: { jobId, queue },
    deadlineMs: Math.max(MIN_CHILD_MS, payload.deadlineAt - clockOf(store).now()),
  };
  return await runInTool(run, () => startChild(call));
}
