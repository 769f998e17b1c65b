import { z } from "zod";
import type { ChatParameters } from "../calls/completion-options.ts";
import type { ModelNames } from "../calls/model-chain.ts";
import { sharedOptions, toolsOrNamesOption } from "../calls/option-schemas.ts";
import { SCALES } from "../rollouts/advantages.ts";
import type { RolloutProgress } from "../rollouts/collect.ts";
import { EXPORTS, type ExportFormat } from "../rollouts/exports.ts";
import { UNINFORMATIVE } from "../rollouts/scored-step.ts";
import { isObject } from "../shared/json.ts";
import { isReward, type Reward } from "../shared/reward.ts";
import { isStepFunction, type StepFunction } from "../shared/step-function.ts";
import type { Tool } from "../shared/tool.ts";

/** How scores become advantages, and what is written. */
export interface RolloutOutputOptions {
  /** By what a reward's distance from its group's mean is divided: the deviation of the group, of the step, or nothing. Default `group`. */
  scale?: "group" | "batch" | "none";
  /** What becomes of groups whose rewards are all equal: `drop`, the default, leaves them out of the exports for trainers. */
  uninformative?: "keep" | "drop";
  /** The groups of one step of the trainer, over which sums and the deviation of `batch` are taken; default 8. */
  groupsPerStep?: number;
  /** Files for trainers beside `samples.jsonl`; default: none. */
  exports?: readonly ExportFormat[];
}

/** Options of a rollout. */
export interface RolloutOptions
  extends RolloutOutputOptions,
    Pick<
      ChatParameters,
      "temperature" | "topP" | "maxTokens" | "stop" | "reasoningEffort" | "providerOptions" | "extra"
    > {
  /** Rows with a prompt, or the path of a file of JSON lines. */
  prompts: string | readonly Record<string, unknown>[];
  /** The samples of each prompt, from 1. */
  samples: number;
  /** The scores of a sample, whose weighted sum is its reward. */
  rewards: readonly Reward[];
  /** The folder of the results, by which a later call goes on with the same rollout. */
  output: string;
  /** The field of a row with its prompt: a text or messages; default: `prompt`, `messages` or `question`. */
  promptField?: string;
  /** Only so many rows; default: all. */
  limit?: number;
  /** The model; default: the client's. */
  model?: ModelNames;
  /** The system prompt of prompts that have none; default: none. */
  system?: string;
  /** The tools that the model may call, or names of tools that the workers have; default: none. */
  tools?: readonly (Tool | string)[];
  /** What answers the model in rollouts of several turns (`defineEnvironment`); default: nothing does. */
  environment?: StepFunction;
  /** The most answers of one sample, those that call tools included; default 10. */
  maxTurns?: number;
  /** From which the samples' seeds are made, so that the same prompts get the same ones; false: none are sent. Default 0, and false for providers that take none. */
  seed?: number | false;
  /** Whether the first sample of a prompt goes ahead, so that the others find it in the provider's prefix cache; default true. */
  keepFirst?: boolean;
  /** How often a group whose rewards are all equal is sampled anew, which is paid for; default 0. */
  resample?: number;
  /** Rewards that differ by no more count as equal; default 1e-6. */
  epsilon?: number;
  /** The groups that are under way at a time; default 16. */
  groupsInFlight?: number;
  /** The longest provider call, in milliseconds; default: the setting CALL_TIMEOUT_MS. */
  timeoutMs?: number;
  /** Told how far it is. */
  onProgress?: (progress: RolloutProgress) => void;
  /** A signal that ends the waiting; what is under way goes on, and the same call again finds it. */
  signal?: AbortSignal;
}

/** Options of scoring a rollout again. */
export interface RescoreOptions extends RolloutOutputOptions {
  /** The folder of a finished rollout. */
  output: string;
  /** The scores in place of those that it has. */
  rewards: readonly Reward[];
}

const reward = z.custom<Reward>(
  (value) => isStepFunction(value) && isReward(value),
  "must be what defineReward or defineJudge returns",
);
const outputOptions = {
  scale: z.enum(SCALES).default("group"),
  uninformative: z.enum(UNINFORMATIVE).default("drop"),
  groupsPerStep: z.int().min(1).default(8),
  exports: z.array(z.enum(EXPORTS)).default([]),
  output: z.string().min(1),
  rewards: z.array(reward).min(1, "must have at least one reward"),
};
/** The schema of `rescore`. */
export const rescoreSchema = z.strictObject(outputOptions);
/** The schema of `rollout`. */
export const rolloutSchema = z.strictObject({
  ...outputOptions,
  prompts: z.union([z.string(), z.array(z.custom<Record<string, unknown>>(isObject, "must be objects"))]),
  samples: z.int("must be a whole number").min(1, "must be at least 1").max(1024),
  promptField: z.string().optional(),
  limit: z.int().min(1).optional(),
  model: sharedOptions.model,
  system: z.string().optional(),
  tools: toolsOrNamesOption,
  environment: z
    .custom<StepFunction>(
      (value) => isStepFunction(value) && value.kind === "environment",
      "must be what defineEnvironment returns",
    )
    .optional(),
  maxTurns: z.int().min(1).max(1000).default(10),
  seed: z.union([z.int(), z.literal(false)]).default(0),
  keepFirst: z.boolean().default(true),
  resample: z.int().min(0).max(100).default(0),
  epsilon: z.number().min(0).default(1e-6),
  groupsInFlight: z.int().min(1).max(1000).default(16),
  timeoutMs: z.int().min(1).optional(),
  temperature: z.number().optional(),
  topP: z.number().optional(),
  maxTokens: z.int().min(1).optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
  reasoningEffort: z.string().optional(),
  providerOptions: sharedOptions.providerOptions,
  extra: z.record(z.string(), z.unknown()).optional(),
  onProgress: z.custom<RolloutOptions["onProgress"]>((value) => typeof value === "function").optional(),
  signal: z.instanceof(AbortSignal).optional(),
});
/** Options as they are checked, with their defaults. */
export type CheckedRollout = z.output<typeof rolloutSchema>;
