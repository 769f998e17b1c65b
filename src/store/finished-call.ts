import { z } from "zod";
import { chatCompletionSchema } from "../shared/chat.ts";
import { laneSchema } from "../shared/records.ts";

const tokensSchema = z.object({
  prompt: z.number(),
  completion: z.number(),
  total: z.number(),
  cached: z.number(),
  cacheWritten: z.number().optional(),
  estimated: z.literal(true).optional(),
});

/** A provider call that brought an answer. */
export const finishedCallSchema = z.object({
  entry: z.string(),
  model: z.string(),
  statusCode: z.number(),
  requestId: z.string(),
  body: chatCompletionSchema,
  tokens: tokensSchema,
  costUsd: z.number().nullable(),
  latencyMs: z.number(),
  /** To the first piece of a streamed answer. */
  firstTokenMs: z.number().optional(),
  /** How long it waited for its budget. */
  budgetWaitMs: z.number().optional(),
  fromCache: z.literal(true).optional(),
  /** Of the question whose answer this is, where that was only like this one. */
  similarity: z.number().optional(),
  /** How it was bought, where that was not online. */
  lane: laneSchema.optional(),
  /** Why it was bought online, though a lane was asked for. */
  laneMissed: z.string().optional(),
});
export type FinishedCall = z.infer<typeof finishedCallSchema>;
