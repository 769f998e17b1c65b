import type { Message } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { meanOf } from "./advantages.ts";
import type { RolloutSpec } from "./group.ts";
import type { ScoredGroup, ScoredSample, ScoredStep } from "./scored-step.ts";

/** The formats of trainers. */
export const EXPORTS = ["trl", "dpo", "verifiers"] as const;
export type ExportFormat = (typeof EXPORTS)[number];

/** Columns of TRL's log of completions that a reward must not be called by. */
const TRL_COLUMNS = ["step", "prompt", "completion", "advantage"];

/** @throws InputError for rewards that cannot be columns beside those of the format */
export function checkExports(
  formats: readonly ExportFormat[],
  { rewards }: Pick<RolloutSpec, "rewards">,
): void {
  const taken = rewards.find(({ name }) => TRL_COLUMNS.includes(name));
  if (taken && formats.includes("trl"))
    throw new InputError(
      `a reward cannot be called "${taken.name}" with --export trl`,
      "that is a column of its own",
    );
}

/**
 * Returns the rows of TRL's GRPOTrainer's own log of completions: `step`, `prompt`, `completion`, a column per reward, `advantage`. As
 * there, the advantage of a sample without a reward is 0. Dropped groups are left out.
 */
export function trlRows({ step, groups }: ScoredStep): object[] {
  return groups.flatMap((group) =>
    group.isDropped
      ? []
      : group.samples.map((sample) => ({
          step,
          prompt: plain(group.prompt),
          completion: plain(sample.completion),
          ...sample.rewards,
          advantage: sample.advantage ?? 0,
        })),
  );
}

/** Returns the rows of a preference set for TRL's DPOTrainer: the best sample of each group against its worst. */
export function dpoRows({ groups }: ScoredStep): object[] {
  return groups.flatMap((group) => {
    if (!group.isInformative) return [];
    const ranked = group.samples
      .filter((sample): sample is ScoredSample & { reward: number } => sample.reward !== null)
      .sort((a, b) => b.reward - a.reward || a.sample - b.sample);
    const [chosen, rejected] = [plain(ranked[0]?.completion ?? []), plain(ranked.at(-1)?.completion ?? [])];
    // Two equal answers with different scores say nothing of each other.
    if (JSON.stringify(chosen) === JSON.stringify(rejected)) return [];
    return [{ prompt: plain(group.prompt), chosen, rejected }];
  });
}

/** Returns the rows of `results.jsonl` of verifiers, failed samples and dropped groups included: there they count. */
export function verifiersRows({ groups }: ScoredStep): object[] {
  return groups.flatMap((group) => group.samples.map((sample) => verifiersRow(group, sample)));
}

function verifiersRow({ group, row, prompt }: ScoredGroup, sample: ScoredSample): object {
  const { answer, info, task } = row;
  const { completion, rewards, stopReason, error, tokens, latencyMs } = sample;
  const scores = Object.entries(rewards).filter(([, score]) => score !== null);
  return {
    example_id: group,
    task: typeof task === "string" ? task : "default",
    prompt: plain(prompt),
    completion: plain(completion),
    ...(typeof answer === "string" && { answer }),
    ...(typeof info === "object" && info !== null && { info }),
    // It has to be a number there.
    reward: sample.reward ?? 0,
    timing: { generation_ms: latencyMs, scoring_ms: 0, total_ms: latencyMs },
    is_completed: !error,
    is_truncated: stopReason === "length" || stopReason === "max_turns",
    stop_condition: stopReason,
    metrics: Object.fromEntries(scores),
    error: error
      ? {
          error: error.code,
          error_chain_repr: `${error.code}: ${error.message}`,
          error_chain_str: error.message,
        }
      : null,
    token_usage: { input_tokens: tokens.prompt, output_tokens: tokens.completion },
  };
}

/** Returns `metadata.json` of verifiers. */
export function verifiersMetadata(
  { samples, request, rewards }: RolloutSpec,
  groups: readonly ScoredGroup[],
): object {
  const all = groups.flatMap((group) => group.samples);
  const metrics = rewards.map(({ name }) => {
    const scores = all.flatMap((sample) => sample.rewards[name] ?? []);
    return [name, meanOf(scores)] as const;
  });
  return {
    env_id: "gluellm-rollout",
    env_args: {},
    model: [request.model ?? ""].flat().join(","),
    base_url: "",
    num_examples: groups.length,
    rollouts_per_example: samples,
    sampling_args: { temperature: request.temperature, top_p: request.topP, max_tokens: request.maxTokens },
    time: all.reduce((sum, { latencyMs }) => sum + latencyMs, 0) / 1000,
    avg_reward: meanOf(all.map(({ reward }) => reward ?? 0)),
    avg_metrics: Object.fromEntries(metrics),
    avg_error: meanOf(all.map(({ error }) => (error ? 1 : 0))),
    state_columns: [],
    tools: null,
  };
}

/** Messages as trainers read them, without what only their provider understands. */
function plain(messages: readonly Message[]): object[] {
  return messages.map(({ role, content, tool_calls: toolCalls, tool_call_id: callId }) => ({
    role,
    content: content ?? "",
    ...(toolCalls && { tool_calls: toolCalls }),
    ...(callId !== undefined && { tool_call_id: callId }),
  }));
}
