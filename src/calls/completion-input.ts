import { checkRequest } from "../producers/completion-job.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { requirePrices } from "../producers/priced-models.ts";
import type { CacheOption } from "../shared/cache-option.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { InputError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import type { Steps } from "../shared/steps.ts";
import type { SystemPrompt } from "../shared/system-prompt.ts";
import type { Owner } from "../shared/tenant.ts";
import type { Tool } from "../shared/tool.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import type { ConversationRef } from "../store/conversation.ts";
import {
  type CompletionMessage,
  checkOptions,
  type EnqueueOptions,
  givenMessages,
  toChatRequest,
  toToolDefinitions,
  toToolNames,
} from "./completion-options.ts";
import { chooseModels, type ModelNames } from "./model-chain.ts";
import { toOutput } from "./output-options.ts";
import { toStepsFields } from "./steps-options.ts";
import { toWireOptions } from "./wire-input.ts";

/** The values that hold where a call says nothing. */
export interface InputDefaults {
  settings: Settings;
  model?: ModelNames;
  system?: string | SystemPrompt;
  tools?: readonly Tool[];
  maxToolIterations?: number;
  cache?: CacheOption;
  providerOptions?: ProviderOptions;
  /** Whether this process needs the keys; false when only the running fleet does. */
  keyNeeded: boolean;
  /** In whose name the calls are made. */
  owner?: Owner;
  /** Whether whoever asks has a cost limit, so that models have to have a price. */
  hasCostLimit?: boolean;
  /** Gets the tools that the call brings along, for a worker of this process to run. */
  offerTools?: (tools: readonly Tool[]) => void;
  /** Gets the functions of steps that the call brings along, for a worker of this process to run. */
  offerSteps?: (steps: Steps) => void;
}

/**
 * Returns the job of a call. Everything that can be known to be wrong is said here, before Redis is asked.
 * @throws InputError; ConfigurationError for an unknown model, a missing key or price
 */
export function toCompletionInput(
  message: CompletionMessage,
  options: EnqueueOptions,
  defaults: InputDefaults,
  ref?: ConversationRef,
): CompletionInput {
  const checked = checkOptions(options);
  const { settings, keyNeeded } = defaults;
  const { tools: given = defaults.tools ?? [], executeTools = true, extra } = checked;
  if (given.length > 0 && extra?.tools !== undefined) {
    throw new InputError("the options are wrong at extra.tools: the tools set it", "with it give tools: []");
  }
  const request = checkRequest({
    ...toChatRequest(message, checked, defaults),
    ...(!executeTools && given.length > 0 && { tools: toToolDefinitions(given) }),
  });
  const defaultModels = defaults.model ?? settings.defaultModel;
  const models = chooseModels(checked.model, {
    ...{ settings, defaultModels, keyNeeded },
    drawnBy: () => ref?.id ?? canonicalJson(request),
  });
  const all = [models.model, ...(models.fallbacks ?? [])];
  const { priority, delayMs, deadlineMs, maxAttempts, maxCostUsd, idempotencyKey, stream } = checked;
  const { timeoutMs, idleTimeoutMs } = checked;
  if (defaults.hasCostLimit) requirePrices(settings, all, "the cost limit of the key");
  if (maxCostUsd !== undefined || ref?.maxCostUsd !== undefined) requirePrices(settings, all, "maxCostUsd");
  const tools = executeTools ? toToolNames(given) : [];
  const steps = toStepsFields(checked, toToolNames(given), defaults.offerSteps);
  const answer = toOutput(checked);
  const wire = toWireOptions(checked, defaults.providerOptions, { settings, models: all });
  // Last: a call that is refused leaves nothing behind.
  if (executeTools) defaults.offerTools?.(given.filter((tool) => typeof tool !== "string"));
  const { maxToolIterations = defaults.maxToolIterations, cache = defaults.cache } = checked;
  return {
    ...models,
    ...defaults.owner,
    requestId: checked.requestId,
    traceparent: checked.traceparent,
    agent: checked.agent,
    tracestate: checked.tracestate,
    request,
    ...(tools.length > 0 && { tools, maxToolIterations }),
    ...(tools.length > 0 && executeTools === "once" && { endsWithTools: true }),
    ...steps,
    ...answer,
    wire,
    conversation: ref && { ref, messages: givenMessages(message, request) },
    priority,
    delayMs,
    deadlineMs,
    maxAttempts,
    timeoutMs,
    idleTimeoutMs,
    maxCostUsd,
    idempotencyKey,
    stream,
    cache,
  };
}
