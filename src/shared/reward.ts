import type { Message } from "./chat.ts";
import { InputError } from "./errors.ts";
import { defineStepFunction, type StepFunction } from "./step-function.ts";

/** A sample of a rollout, as rewards and environments see it. */
export interface RolloutSample {
  /** The messages that were asked, the system prompt included. */
  prompt: Message[];
  /** What followed: answers, results of tools, and what the environment said. */
  completion: Message[];
  /** The text of the last answer. */
  text: string;
  /** The whole row of the input, such as its `answer`. */
  row: Readonly<Record<string, unknown>>;
  /** The number of the sample in its group, from 0. */
  sample: number;
}

/** A score of samples; `defineReward` and `defineJudge` make one. */
export interface Reward extends StepFunction {
  readonly kind: "reward";
  /** The factor of this reward in the sum of all. */
  readonly weight: number;
  /** The longest time of one score, in milliseconds. */
  readonly timeoutMs: number;
  /** The model that scores, as `provider:model`; undefined when code does. */
  readonly judgeModel: string | undefined;
}

/** The parts that rewards of both sorts have. */
interface RewardOptions {
  /** The name: 1 to 64 letters, digits, `_`, `-` and `.`; it names the score in every file. */
  name: string;
  /** The factor of this reward in the sum of all; default 1. */
  weight?: number;
  /** The longest time of one score, in milliseconds; default 30,000. After it the score is null. */
  timeoutMs?: number;
}

/** A finished score; null says nothing of the sample. */
export type Score = number | boolean | null;

const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Returns a reward that code computes. It is called in a worker, as a recorded step. What it throws, and what is no finite number, is
 * recorded as null with the reason.
 *
 * ```ts
 * export const exact = defineReward({ name: "exact", score: ({ text, row }) => text.trim() === row.answer });
 * ```
 * @throws InputError for a name, weight or time that cannot be
 */
export function defineReward({
  score,
  ...options
}: RewardOptions & {
  /** Returns the score: a number, true as 1, false as 0, or null for none. */
  score: (sample: RolloutSample, signal: AbortSignal) => Score | Promise<Score>;
}): Reward {
  const run = async (sample: RolloutSample, signal: AbortSignal) =>
    toScore(options.name, await score(sample, signal));
  return define(options, run, undefined);
}

/**
 * Returns a reward that a model gives: a job of its own, whose cost is counted apart from that of the samples. Its answer is
 * `{ reason, score }`.
 *
 * ```ts
 * export const polite = defineJudge({
 *   name: "polite",
 *   model: "openai:gpt-4o-mini",
 *   question: ({ text }) => `How polite is this from 0 to 1?\n\n${text}`,
 * });
 * ```
 * @throws as `defineReward`
 */
export function defineJudge({
  model,
  question,
  ...options
}: RewardOptions & {
  /** The model that scores, as `provider:model`. */
  model: string;
  /** Returns what the model is asked of a sample. */
  question: (sample: RolloutSample) => string;
}): Reward {
  return define(options, question, model);
}

/** What an environment says to an answer: the next user message, or null when the episode is over. */
export type EnvironmentReply = string | null;

/**
 * Returns an environment, which answers the model turn by turn in rollouts of several turns. It is called in a worker, as a recorded
 * step.
 * @throws InputError for a name that cannot be
 */
export function defineEnvironment(
  name: string,
  reply: (sample: RolloutSample, signal: AbortSignal) => EnvironmentReply | Promise<EnvironmentReply>,
): StepFunction {
  return defineStepFunction("environment", name, reply);
}

/** Whether a step function is a reward. */
export function isReward(value: StepFunction): value is Reward {
  return value.kind === "reward";
}

/** Returns a score as a number. @throws InputError (`reward_not_a_number`) for what is none, such as NaN */
export function toScore(name: string, value: unknown): number | null {
  const score = typeof value === "boolean" ? Number(value) : value;
  if (score === null || (typeof score === "number" && Number.isFinite(score))) return score;
  const given = typeof score === "number" ? String(score) : typeof score;
  throw new InputError(
    `reward "${name}" returned ${given}`,
    "return a finite number, or null for no score",
    "reward_not_a_number",
  );
}

function define(
  { name, weight = 1, timeoutMs = DEFAULT_TIMEOUT_MS }: RewardOptions,
  run: StepFunction["run"],
  judgeModel: string | undefined,
): Reward {
  if (!Number.isFinite(weight))
    throw new InputError(`weight of reward "${name}" must be a finite number, not ${weight}`);
  if (!(timeoutMs >= 1))
    throw new InputError(`timeoutMs of reward "${name}" must be at least 1, not ${timeoutMs}`);
  return defineStepFunction("reward", name, run, { weight, timeoutMs, judgeModel }) as Reward;
}
