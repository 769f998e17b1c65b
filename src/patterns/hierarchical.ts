import { z } from "zod";
import type { AgentSpec } from "../shared/agent.ts";
import { block } from "./block.ts";
import {
  agent,
  definePattern,
  type OnAgentError,
  onAgentError,
  secondOfName,
  settleGroup,
} from "./pattern.ts";

interface Subtask {
  /** The name of the worker. */
  worker: string;
  task: string;
}
interface Done extends Subtask {
  result: string;
}

/**
 * The pattern in which a manager divides the task among workers by their descriptions, and makes one answer of what
 * they bring. A plan with too many subtasks, or with workers that do not exist, is shown to the manager again.
 */
export const hierarchical = definePattern({
  name: "hierarchical",
  when: "The task has parts for specialists, which are known only once somebody has looked at it.",
  calls: "2 + subtasks, with 1 to maxSubtasks subtasks; 1 less with synthesisStrategy concatenate",
  source: 'Shen et al. 2023, "HuggingGPT: Solving AI Tasks with ChatGPT and its Friends in Hugging Face"',
  config: z.object({
    manager: agent.describe("plans the subtasks, and makes one answer of their results"),
    workers: z
      .array(agent)
      .min(1, "must have at least one worker")
      .describe("do the subtasks; the manager knows them by name and description"),
    maxSubtasks: z.int().min(1).max(100).default(5).describe("most subtasks of a plan, 1 to 100"),
    parallelWorkers: z
      .boolean()
      .default(true)
      .describe("true: subtasks side by side; false: in the plan's order, each with the results before it"),
    synthesisStrategy: z
      .enum(["summarize", "concatenate", "merge"])
      .default("summarize")
      .describe(
        "summarize: the manager answers the task from the results, in short; merge: it joins them in full, without repetitions; concatenate: they stand one after the other, each under its subtask, without a call",
      ),
    onAgentError,
  }),
  check({ workers }, refuse) {
    const twice = secondOfName(workers);
    if (twice >= 0) refuse(`workers.${twice}.name`, "is the name of an earlier worker");
  },
  async run(_ctx, config, ask) {
    const { input, manager, workers, maxSubtasks, parallelWorkers, synthesisStrategy, onAgentError } = config;
    const schema = planSchema(workers, maxSubtasks);
    const { subtasks } = await ask.structured("plan", manager, planPrompt(config), { schema });

    const asked: Promise<Done>[] = [];
    const work = async (subtask: Subtask, before: readonly Done[]): Promise<Done> => {
      // The plan's schema knows no other names.
      const worker = workers.find(({ name }) => name === subtask.worker) as AgentSpec;
      return { ...subtask, result: await ask("work", worker, workPrompt(input, subtask, before)) };
    };
    for (const subtask of subtasks) {
      asked.push(work(subtask, parallelWorkers ? [] : await endedOf(asked, onAgentError)));
    }
    const settled = await settleGroup(onAgentError, asked);

    const done = settled.filter((one) => one !== undefined);
    const missing = subtasks.filter((_, i) => settled[i] === undefined);
    const finalOutput =
      synthesisStrategy === "concatenate"
        ? done.map(({ task, result }) => `## ${task}\n\n${result}`).join("\n\n")
        : await ask(
            synthesisStrategy,
            manager,
            synthesisPrompt(SYNTHESIS[synthesisStrategy], input, done, missing),
          );
    return {
      finalOutput,
      iterations: subtasks.length,
      metadata: {
        stopReason: missing.length > 0 ? "partial" : "complete",
        subtasks: subtasks.map((subtask, i) => ({ ...subtask, isDone: settled[i] !== undefined })),
      },
    };
  },
});

function planSchema(workers: readonly AgentSpec[], maxSubtasks: number) {
  const subtask = z.object({
    worker: z.enum(workers.map(({ name }) => name)),
    task: z.string().min(1).describe("what the worker has to do; it sees this and the whole task"),
  });
  return z.object({ subtasks: z.array(subtask).min(1).max(maxSubtasks) });
}

/**
 * Returns what the subtasks brought, once all have ended.
 * @throws the first error with `fail`: no more is asked then
 */
async function endedOf(asked: readonly Promise<Done>[], policy: OnAgentError): Promise<Done[]> {
  if (policy === "fail") return Promise.all(asked);
  const settled = await Promise.allSettled(asked);
  return settled.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
}

function planPrompt(config: {
  input: string;
  workers: AgentSpec[];
  maxSubtasks: number;
  parallelWorkers: boolean;
}) {
  const { input, workers, maxSubtasks, parallelWorkers } = config;
  return [
    `Divide the task into at most ${maxSubtasks} subtasks, as few as it needs, each for the worker that suits it best.`,
    parallelWorkers
      ? "They are worked on at the same time: none may need the result of another one."
      : "They are worked on in your order: each worker sees the results of the subtasks before.",
    block("task", input),
    block("workers", workers.map(({ name, description }) => `${name}: ${description}`).join("\n")),
  ].join("\n\n");
}

function workPrompt(input: string, { task }: Subtask, before: readonly Done[]): string {
  return [
    "Do the subtask, and that alone. The whole task tells what it is for.",
    block("whole-task", input),
    ...before.map(resultBlock),
    block("subtask", task),
  ].join("\n\n");
}

const SYNTHESIS = {
  summarize: "Answer the task from the results of its subtasks, as short as the task allows.",
  merge:
    "Make one text of the results of the subtasks, which does the task. Keep every detail, say nothing twice, and resolve what contradicts.",
};

function synthesisPrompt(what: string, input: string, done: readonly Done[], missing: readonly Subtask[]) {
  const lost = missing.map(({ task }) => task).join("\n");
  return [
    what,
    block("task", input),
    ...done.map(resultBlock),
    ...(lost ? ["These subtasks failed. Say what is missing for it.", block("failed-subtasks", lost)] : []),
  ].join("\n\n");
}

function resultBlock({ task, result }: Done): string {
  return block("result", `Subtask: ${task}\n\n${result}`);
}
