import { toToolNames } from "../calls/chat-request.ts";
import type { ModelNames } from "../calls/model-chain.ts";
import { chooseModels } from "../calls/model-chain.ts";
import { publishRollout } from "../rollouts/boundaries.ts";
import { collectGroups } from "../rollouts/collect.ts";
import { checkExports } from "../rollouts/exports.ts";
import type { Group, GroupInput, RolloutSpec } from "../rollouts/group.ts";
import { rolloutGroup } from "../rollouts/group-workflow.ts";
import { rescored } from "../rollouts/rescore.ts";
import { RolloutFolder } from "../rollouts/rollout-folder.ts";
import { readRows } from "../rollouts/rollout-rows.ts";
import type { ScoringOptions } from "../rollouts/scored-step.ts";
import { type RolloutReport, writeResults } from "../rollouts/write-results.ts";
import { InputError, JobCancelledError } from "../shared/errors.ts";
import { apiOf } from "../shared/providers.ts";
import type { Reward } from "../shared/reward.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { isSystemPrompt } from "../shared/system-prompt.ts";
import type { Tool } from "../shared/tool.ts";
import {
  type CheckedRollout,
  type RescoreOptions,
  type RolloutOptions,
  rescoreSchema,
  rolloutSchema,
} from "./rollout-options.ts";
import type { WorkflowHandle } from "./workflow-handle.ts";
import type { Workflows } from "./workflows.ts";

/** As rows of batches: who waits for an answer comes first. */
const PRIORITY = 10;
/** How often it is looked why nothing ends. */
const LOOK_MS = 5000;
const NO_TOKENS = { prompt: 0, completion: 0, cached: 0 };

/** What a client's rollouts need of it. */
export interface RolloutSite {
  workflows: Workflows;
  settings: Settings;
  keyNeeded: boolean;
  model: ModelNames | undefined;
  system: unknown;
  /** Gives a worker of this process what the rollout brings along. */
  offer: (functions: readonly StepFunction[], tools: readonly Tool[]) => void;
}

/** Runs a rollout, or goes on with one. */
export async function runRollout(site: RolloutSite, given: RolloutOptions): Promise<RolloutReport> {
  const options = checkWith(rolloutSchema, given, "the options", "are");
  const spec = toSpec(site, options);
  checkExports(options.exports, spec);
  const {
    promptField,
    limit,
    prompts,
    environment,
    tools = [],
    groupsInFlight,
    signal,
    onProgress,
  } = options;
  const system = options.system ?? defaultSystem(site);
  const rows = await readRows(prompts, { promptField, limit, system });
  const folder = await RolloutFolder.open(options.output, spec, rows);
  try {
    publishRollout("opened");
    site.offer(
      [...options.rewards, ...(environment ? [environment] : [])],
      tools.filter((tool) => typeof tool !== "string"),
    );
    const open = new Set<WorkflowHandle>();
    const play = (input: GroupInput, end: AbortSignal) =>
      playGroup(site.workflows, folder.id, input, end, open);
    using _watch = watchWaits(open, (waitsFor) =>
      onProgress?.({ groups: folder.count, total: rows.length, waitsFor }),
    );
    await collectGroups({ folder, rows, play, groupsInFlight, signal, onProgress });
    publishRollout("collected");
    return await writeResults(folder, scoringOf(options), options.exports);
  } finally {
    await folder.close();
  }
}

/** Scores a finished rollout again: no provider is called, and nothing of Redis is needed. */
export async function rescoreRollout(given: RescoreOptions): Promise<RolloutReport> {
  const options = checkWith(rescoreSchema, given, "the options", "are");
  const rewards = options.rewards.map(rewardSpec);
  checkRewards(options.rewards);
  checkExports(options.exports, { rewards });
  const folder = await RolloutFolder.existing(options.output);
  let open = folder;
  try {
    if (folder.count < folder.rows) {
      const hint = "run the rollout to its end first: the same command goes on with it";
      throw new InputError(`${folder.count} of ${folder.rows} groups are there`, hint, "rollout_unfinished");
    }
    open = await folder.replace(rescored(folder, options.rewards), rewards);
    return await writeResults(open, scoringOf(options), options.exports);
  } finally {
    await open.close().catch(() => {});
  }
}

/** A run of an earlier call that failed, as when the key was refused, goes on where it stopped. */
async function playGroup(
  workflows: Workflows,
  id: string,
  input: GroupInput,
  signal: AbortSignal,
  open: Set<WorkflowHandle>,
): Promise<Group> {
  const runId = `rollout-${id}-${input.group}`;
  const start = { runId, priority: PRIORITY, tags: [`rollout=${id}`], signal };
  const run = await workflows.start(rolloutGroup, input, start);
  publishRollout("started");
  open.add(run);
  try {
    if ((await run.status()).state === "failed") await run.retry();
    return await (run as WorkflowHandle<Group>).result({ signal });
  } catch (error) {
    const isCancelled = error instanceof JobCancelledError && !signal.aborted;
    if (isCancelled) return cancelledGroup(input, error);
    throw error;
  } finally {
    open.delete(run);
  }
}

/** Tells from time to time why the first of the groups under way does not go on. */
function watchWaits(
  open: ReadonlySet<WorkflowHandle>,
  tell: (waitsFor: readonly string[]) => void,
): Disposable {
  const timer = setInterval(async () => {
    const [first] = open;
    const status = await first?.status().catch(() => undefined);
    if (status?.waitsFor.length) tell(status.waitsFor);
  }, LOOK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Somebody cancelled the run: the others need not wait for it for ever. */
function cancelledGroup(
  { group, row, prompt, samples, rewards }: GroupInput,
  { code, message }: JobCancelledError,
): Group {
  const none = { completion: [], text: "", stopReason: "error", turns: 0, tokens: NO_TOKENS, latencyMs: 0 };
  const error = { code, message };
  const scores = Object.fromEntries(rewards.map(({ name }) => [name, null]));
  const costs = { costUsd: null, judgeCostUsd: null };
  return {
    ...{ group, row, prompt },
    samples: Array.from({ length: samples }, (_, sample) => ({
      sample,
      ...none,
      ...costs,
      error,
      rewards: scores,
    })),
  };
}

function toSpec(site: RolloutSite, options: CheckedRollout): RolloutSpec {
  const { samples, maxTurns, keepFirst, resample, epsilon, environment, seed, tools } = options;
  const { temperature, topP, maxTokens, stop, reasoningEffort, providerOptions, extra, timeoutMs } = options;
  checkRewards(options.rewards);
  const { settings, keyNeeded } = site;
  const defaultModels = site.model ?? settings.defaultModel;
  const choice = chooseModels(options.model, { settings, keyNeeded, defaultModels });
  const models = [choice.model, ...(choice.fallbacks ?? [])];
  // The judges' models are asked too, later: what is wrong with them is said now.
  for (const { judgeModel } of options.rewards)
    if (judgeModel !== undefined) chooseModels(judgeModel, { settings, keyNeeded, defaultModels });
  const takesSeeds = models.every(({ entry: name, model }) => {
    const entry = settings.providers[name];
    return entry?.dialect === "openai" && apiOf(entry, model) === "chat";
  });
  return {
    samples,
    request: {
      model: options.model ?? defaultModels,
      ...(tools && { tools: toToolNames(tools) }),
      ...{ temperature, topP, maxTokens, stop, reasoningEffort, timeoutMs, providerOptions, extra },
    } as RolloutSpec["request"],
    rewards: options.rewards.map(rewardSpec),
    ...(environment && { environment: environment.name }),
    maxTurns,
    ...(seed !== false && takesSeeds && { seed: String(seed) }),
    keepsFirst: keepFirst,
    resamples: resample,
    epsilon,
  };
}

function checkRewards(rewards: readonly Reward[]): void {
  const twice = rewards.find(({ name }, i) => rewards.findIndex((other) => other.name === name) !== i);
  if (twice) throw new InputError(`two rewards are called "${twice.name}"`, undefined, "duplicate_function");
}

function rewardSpec({ name, weight, timeoutMs, judgeModel }: Reward): RolloutSpec["rewards"][number] {
  return { name, weight, timeoutMs, ...(judgeModel !== undefined && { judgeModel }) };
}

function scoringOf({ scale, uninformative, groupsPerStep }: ScoringOptions): ScoringOptions {
  return { scale, uninformative, groupsPerStep };
}

function defaultSystem({ system }: RolloutSite): string | undefined {
  return isSystemPrompt(system) ? system.format({ tools: [] }) : (system as string | undefined);
}
