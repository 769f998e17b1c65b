import { z } from "zod";
import { cacheOptionSchema } from "../shared/cache-option.ts";
import { isSystemPrompt, type SystemPrompt } from "../shared/system-prompt.ts";
import { isTool, type Tool, toolNameSchema } from "../shared/tool.ts";
import { providerOptionsSchema } from "../shared/wire-options.ts";
import type { ModelNames } from "./model-chain.ts";

/** The most tools that providers take, and a job carries. */
const MAX_TOOLS = 128;

/** The options that clients, conversations and calls have in common. */
export const sharedOptions = {
  model: z.union([z.string(), z.array(z.string())]).optional() as z.ZodType<ModelNames | undefined>,
  system: z
    .union([z.string(), z.custom<SystemPrompt>(isSystemPrompt, "must be a text or a SystemPrompt")])
    .optional(),
  maxToolIterations: z.int().min(1).max(1000).optional(),
  maxCostUsd: z.number().positive().optional(),
  cache: cacheOptionSchema.optional(),
  providerOptions: providerOptionsSchema.optional(),
};

/** A time of a provider call, in milliseconds. */
export const callTimeoutOption = z.int().min(1).max(3_600_000).optional();

/** The option of a client for its tools. */
export const toolsOption = z
  .array(z.custom<Tool>(isTool, "must be what defineTool returns"))
  .max(MAX_TOOLS)
  .optional();

/** The option of a call for tools, or names of tools that workers have. */
export const toolsOrNamesOption = z
  .array(z.union([z.custom<Tool>(isTool, "must be tools, or names of tools"), toolNameSchema]))
  .max(MAX_TOOLS)
  .optional();
