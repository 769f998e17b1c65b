import type { TeamMember } from "../producers/completion-job.ts";
import { checkRequest } from "../producers/completion-job.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { requirePrices } from "../producers/priced-models.ts";
import { type Agent, type AgentParts, callOptionsOf, partsOfAgents, teamOf } from "../shared/agent.ts";
import type { CacheOption } from "../shared/cache-option.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { jobCatalog, MAX_AGENTS } from "../shared/catalog.ts";
import { readDeadline } from "../shared/deadline.ts";
import { InputError } from "../shared/errors.ts";
import { type Guardrail, guardrailNames, isGuardrail } from "../shared/guardrail.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { Settings } from "../shared/settings.ts";
import type { Steps } from "../shared/steps.ts";
import type { SystemPrompt } from "../shared/system-prompt.ts";
import type { Owner } from "../shared/tenant.ts";
import type { Tool } from "../shared/tool.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import type { ConversationRef } from "../store/conversation.ts";
import { givenMessages, toChatRequest, toChoosable, toToolDefinitions, toToolNames } from "./chat-request.ts";
import { type CompletionMessage, checkOptions, type EnqueueOptions } from "./completion-options.ts";
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
  /** Hold for each call, beside its own. */
  guardrails?: readonly (Guardrail | string)[] | undefined;
  maxToolIterations?: number;
  cache?: CacheOption;
  providerOptions?: ProviderOptions;
  /** Whether this process needs the keys; false when only the running fleet does. */
  keyNeeded: boolean;
  /** In whose name the calls are made. */
  owner?: Owner;
  /** Whether whoever asks has a cost limit, so that models have to have a price. */
  hasCostLimit?: boolean;
  /** When the call is asked for, in epoch milliseconds; default: now. */
  now?: number;
  /** Gets what the call brings along, for a worker of this process to run. */
  offerParts?: (parts: AgentParts) => void;
  /** The same of functions of steps. */
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
  const own = checkOptions(options);
  const agent = typeof own.agent === "object" ? own.agent : undefined;
  const checked = agent ? { ...callOptionsOf(agent), ...definedOf(own), agent: agent.name } : own;
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
  const team = agent && teamMembers(agent, models.model, { settings, keyNeeded });
  const others = team?.flatMap(({ model }) => model ?? []) ?? [];
  const all = [models.model, ...(models.fallbacks ?? []), ...others];
  const { lane, deadlineMs } = toLane(checked, settings, defaults.now);
  const { priority, delayMs, maxAttempts, maxCostUsd, idempotencyKey, stream } = checked;
  const { timeoutMs, idleTimeoutMs } = checked;
  if (defaults.hasCostLimit) requirePrices(settings, all, "the cost limit of the key");
  if (maxCostUsd !== undefined || ref?.maxCostUsd !== undefined) requirePrices(settings, all, "maxCostUsd");
  const tools = executeTools ? toToolNames(given) : [];
  const steps = toStepsFields(checked, toChoosable(given), defaults.offerSteps);
  const answer = toOutput(checked);
  const wire = toWireOptions(checked, defaults.providerOptions, { settings, models: all });
  // Last: a call that is refused leaves nothing behind.
  const guardrails = guardrailNames(defaults.guardrails, agent?.guardrails, checked.guardrails);
  if (defaults.offerParts) {
    const whole = executeTools ? given.filter((tool) => typeof tool !== "string") : [];
    const parts = partsOfAgents(agent ? [agent] : [], whole);
    const rules = (checked.guardrails ?? []).filter(isGuardrail);
    defaults.offerParts({ ...parts, guardrails: [...parts.guardrails, ...rules] });
  }
  const { maxToolIterations = defaults.maxToolIterations, cache = defaults.cache } = checked;
  return {
    ...models,
    // A job of agents with other models is in the queue of jobs that have several.
    ...(others.length > 0 && { fallbacks: models.fallbacks ?? [] }),
    ...(team && team.length > 1 && { agents: team }),
    ...(guardrails.length > 0 && { guardrails }),
    ...defaults.owner,
    requestId: checked.requestId,
    traceparent: checked.traceparent,
    agent: checked.agent as string | undefined,
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
    lane,
  };
}

/** After its lane a call has the time of any other. */
const AFTER_LANE_MS = jobCatalog.completion.interactive.deadlineMs;

/** Returns how a call is bought, and the time that it has: without a word of its own, until its lane is over and a while longer. */
function toLane(
  { lane: kind, by = "24h", deadlineMs, delayMs = 0 }: EnqueueOptions,
  { laneReserveMs }: Settings,
  now = Date.now(),
): Pick<CompletionInput, "lane" | "deadlineMs"> {
  if (kind === undefined) return { deadlineMs };
  const byMs = readDeadline(by, now);
  const longestMs = Math.max(0, byMs - now - delayMs) + AFTER_LANE_MS;
  return { lane: { kind, until: byMs - laneReserveMs }, deadlineMs: deadlineMs ?? longestMs };
}

/** What is given: an option that is undefined is none. */
function definedOf<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** The agents that may have their turn in a job, each with its model where that is not the job's. */
function teamMembers(
  first: Agent,
  model: ModelRef,
  { settings, keyNeeded }: Pick<InputDefaults, "settings" | "keyNeeded">,
): TeamMember[] {
  const team = teamOf(first);
  if (team.length > MAX_AGENTS)
    throw new InputError(
      `the agent "${first.name}" may lead to ${team.length} agents; the limit is ${MAX_AGENTS}`,
    );
  return team.map(({ name, model: asked }, i) => {
    if (i === 0 || asked === undefined) return { name };
    const own = chooseModels(asked, { settings, defaultModels: asked, keyNeeded, drawnBy: () => name }).model;
    return { name, ...(own.key !== model.key && { model: own }) };
  });
}
