import { z } from "zod";
import { messageSchema } from "../shared/chat.ts";

/*
 * The words of a rollout: what one group asks for, and what came of it. A group is all samples of one prompt; it is one run of
 * the workflow in `group-workflow.ts`.
 */

/** A reward as a group's run knows it: its code is in the worker. */
const rewardSpecSchema = z.object({
  name: z.string(),
  weight: z.number(),
  timeoutMs: z.number(),
  judgeModel: z.string().optional(),
});
export type RewardSpec = z.infer<typeof rewardSpecSchema>;

/** What every sample is asked with, in the words of a completion's options. */
const requestSchema = z.object({
  model: z.union([z.string(), z.array(z.string())]).optional(),
  tools: z.array(z.string()).optional(),
  temperature: z.number().optional(),
  topP: z.number().optional(),
  maxTokens: z.int().optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
  reasoningEffort: z.string().optional(),
  timeoutMs: z.int().optional(),
  providerOptions: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  extra: z.record(z.string(), z.unknown()).optional(),
});

/** What all groups of a rollout have in common. */
export const rolloutSpecSchema = z.object({
  samples: z.int().min(1),
  request: requestSchema,
  rewards: z.array(rewardSpecSchema),
  /** Name of the environment that answers the model; without it an answer without tool calls ends the sample. */
  environment: z.string().optional(),
  /** Answers of one sample at most. */
  maxTurns: z.int().min(1),
  /** Of the seeds; absent: the requests have none, since the provider takes none. */
  seed: z.string().optional(),
  /** The first sample's first answer is waited for before the others begin, so that they find the prompt in the provider's cache. */
  keepsFirst: z.boolean(),
  /** How often a group whose rewards are all equal is sampled anew. */
  resamples: z.int().min(0),
  /** Rewards that differ by no more count as equal. */
  epsilon: z.number().min(0),
});
export type RolloutSpec = z.infer<typeof rolloutSpecSchema>;

export const groupInputSchema = rolloutSpecSchema.extend({
  /** The place of the row in the input, from 0. */
  group: z.int().min(0),
  row: z.record(z.string(), z.unknown()),
  prompt: z.array(messageSchema).min(1),
});
export type GroupInput = z.infer<typeof groupInputSchema>;

const faultSchema = z.object({ code: z.string(), message: z.string() });

const sampleSchema = z.object({
  sample: z.int(),
  seed: z.int().optional(),
  completion: z.array(messageSchema),
  /** Of the last answer. */
  text: z.string(),
  /** Why it ended: the last answer's finish reason, `max_turns`, or `error`. */
  stopReason: z.string(),
  /** Answers of the model. */
  turns: z.int(),
  tokens: z.object({ prompt: z.number(), completion: z.number(), cached: z.number() }),
  /** USD; null when no price of a model is known. That of the judges is apart. */
  costUsd: z.number().nullable(),
  judgeCostUsd: z.number().nullable(),
  /** The time of its provider calls. */
  latencyMs: z.number(),
  /** Why it has no answer, or not all of them. */
  error: faultSchema.optional(),
  /** By the reward's name; null: no score. */
  rewards: z.record(z.string(), z.number().nullable()),
  /** Why there is no score, by the reward's name. */
  rewardErrors: z.record(z.string(), faultSchema).optional(),
  /** What a judge said for its score, by the reward's name. */
  reasons: z.record(z.string(), z.string()).optional(),
});
/** A sample and its scores. */
export type Sample = z.infer<typeof sampleSchema>;

/** What a group's run brings, and a line of `groups.jsonl` holds. */
export const groupSchema = z.object({
  group: z.int(),
  row: z.record(z.string(), z.unknown()),
  prompt: z.array(messageSchema),
  samples: z.array(sampleSchema),
  /** Samples of earlier tries, whose rewards were all equal: they were paid for. */
  discarded: z.array(sampleSchema).optional(),
});
export type Group = z.infer<typeof groupSchema>;
