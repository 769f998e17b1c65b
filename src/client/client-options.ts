import { z } from "zod";
import type { ModelNames } from "../calls/model-chain.ts";
import { sharedOptions, toolsOption } from "../calls/option-schemas.ts";
import type { CacheOption } from "../shared/cache-option.ts";
import { type Guardrail, guardrailsOption } from "../shared/guardrail.ts";
import { isObject } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import { isStepFunction, type StepFunction } from "../shared/step-function.ts";
import type { SystemPrompt } from "../shared/system-prompt.ts";
import { tenantSchema } from "../shared/tenant.ts";
import type { Tool } from "../shared/tool.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import { type AnyActivity, isActivity } from "../workflows/activity.ts";
import { type AnyWorkflow, isWorkflow } from "../workflows/workflow.ts";

/** Options of a client. */
export interface GlueLLMOptions {
  /** The model as `provider:model`, or several in the order to try them in; default: the setting DEFAULT_MODEL. */
  model?: ModelNames;
  /** The system prompt of the calls that have none; default: the setting DEFAULT_SYSTEM_PROMPT, else none. */
  system?: string | SystemPrompt;
  /**
   * The client's memory: its calls go through one conversation, a new one (`true`) or that of the id, and wait for each
   * other. Default: each call stands alone. `GlueLLM.chat()` makes a client that remembers, `conversation()` gives memory to
   * the calls that need it.
   */
  conversation?: boolean | string;
  /**
   * Who works. `local`: this process works too, so that nothing else need run. `fleet`: it only enqueues, and the
   * provider's keys are needed by the workers alone. Default: `fleet` when a Redis is configured, else `local`. Without
   * a configured Redis both use the embedded one of the data folder.
   */
  mode?: "local" | "fleet";
  /** The tools that the model may call in every call that names none itself; default: none. */
  tools?: readonly Tool[];
  /**
   * Rules on what goes to a model and what comes of it, in every call beside those of the call itself; or names of rules that the
   * workers have. Default: none.
   */
  guardrails?: readonly (Guardrail | string)[];
  /** The most answers with tool calls, 1 to 1,000, of the calls that say nothing of it; default: the setting MAX_TOOL_ITERATIONS, else 10. */
  maxToolIterations?: number;
  /** The use of the cache by calls that say nothing of it (see `EnqueueOptions`). */
  cache?: CacheOption;
  /** Provider options of the calls, to which a call's own are added (see `EnqueueOptions`); default: none. */
  providerOptions?: ProviderOptions;
  /**
   * The tenant in whose name it works: its jobs, runs, batches and conversations belong to it, and those of others are as if
   * they were not there. 1 to 64 letters, digits, `-`, `_` and `.`. Default: what it makes belongs to `default`, and it
   * opens those of all tenants.
   */
  tenant?: string;
  /** Settings that replace those of the environment and `.env`; default: none. */
  settings?: Partial<Settings>;
  /** The logger; default: one of level LOG_LEVEL, else `error`, on standard error. */
  logger?: Logger;
  /** The queues that mode `local` works on, such as `completions.openai.*`; default all. */
  queueGlobs?: readonly string[];
  /** The workflows that this client may start by name, and that mode `local` runs; the patterns are always there. */
  workflows?: readonly AnyWorkflow[];
  /** The retrievers, evaluators, rewards and environments that the workflows of mode `local` may call; default: none. */
  functions?: readonly StepFunction[];
  /** The activities that mode `local` does; default: none. */
  activities?: readonly AnyActivity[];
  /** The milliseconds without a call after which everything is closed until the next one; default never. */
  idleCloseMs?: number;
}

/** The schema of a client's options. */
export const clientOptionsSchema: z.ZodType<GlueLLMOptions> = z.strictObject({
  model: sharedOptions.model,
  system: sharedOptions.system,
  conversation: z.union([z.boolean(), z.string()]).optional(),
  mode: z.enum(["local", "fleet"]).optional(),
  tools: toolsOption,
  guardrails: guardrailsOption,
  maxToolIterations: sharedOptions.maxToolIterations,
  cache: sharedOptions.cache,
  providerOptions: sharedOptions.providerOptions,
  tenant: tenantSchema.optional(),
  settings: z.custom<Partial<Settings>>(isObject, "must be an object").optional(),
  logger: z.custom<Logger>(isObject, "must be a logger").optional(),
  queueGlobs: z.array(z.string()).optional(),
  workflows: z.array(z.custom<AnyWorkflow>(isWorkflow, "must be what defineWorkflow returns")).optional(),
  functions: z
    .array(
      z.custom<StepFunction>(
        isStepFunction,
        "must be what defineRetriever, defineEvaluator or defineReward returns",
      ),
    )
    .optional(),
  activities: z.array(z.custom<AnyActivity>(isActivity, "must be what defineActivity returns")).optional(),
  idleCloseMs: z.number().min(0).optional(),
});
