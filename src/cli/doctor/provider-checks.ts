import { chooseModel } from "../../calls/model-choice.ts";
import { unpricedModels } from "../../producers/priced-models.ts";
import type { QueueState } from "../../producers/queue-states.ts";
import { configuredBudget } from "../../shared/budget.ts";
import { counted } from "../../shared/counted.ts";
import { type ModelRef, parseModel } from "../../shared/model-name.ts";
import type { ProviderEntry } from "../../shared/providers.ts";
import { parseCompletionQueueName } from "../../shared/queue-name.ts";
import type { Settings } from "../../shared/settings.ts";
import type { WorkerCard } from "../../store/worker-card.ts";
import { askKey } from "../compose.ts";
import { type Check, type CheckGroup, type Finding, fail, ok, warn } from "./check.ts";

/** So many models are named in a finding. */
const MAX_NAMED = 5;

export interface FleetSeen {
  states: readonly QueueState[];
  cards: readonly WorkerCard[];
}

/** Keys, by calls that cost nothing, and what is known of the models in use. */
export function providerChecks(settings: Settings, fleet: FleetSeen | undefined): CheckGroup {
  const models = modelsInUse(settings, fleet);
  const used = new Set(models.map(({ entry }) => entry));
  const entries = Object.values(settings.providers).filter((entry) => entry.apiKey || used.has(entry.name));
  return {
    name: "Providers",
    checks: [
      ...entries.map((entry) => keyCheck(entry, settings, fleet)),
      ...(entries.length === 0 ? [{ name: "keys", run: noKeys }] : []),
      { name: "default model", run: () => defaultModelFinding(settings) },
      { name: "prices", run: () => prices(settings, models) },
      { name: "limits", run: () => limits(settings, models, fleet) },
    ],
  };
}

/** The default model, and those that have a queue. */
function modelsInUse(settings: Settings, fleet: FleetSeen | undefined): ModelRef[] {
  const named = settings.defaultModel in settings.deployments ? [] : [defaultModel(settings)];
  return [...new Map([...named, ...queuedModels(fleet)].map((model) => [model.key, model])).values()];
}

function queuedModels(fleet: FleetSeen | undefined): ModelRef[] {
  return (fleet?.states ?? []).flatMap(({ queue }) => parseCompletionQueueName(queue) ?? []);
}

function defaultModel({ defaultModel, providers }: Settings): ModelRef {
  return parseModel(defaultModel, Object.keys(providers));
}

/** Whether calls that name none get through. */
function defaultModelFinding(settings: Settings): Finding {
  const { defaultModel, deployments } = settings;
  if (!Object.hasOwn(deployments, defaultModel))
    chooseModel(undefined, { settings, defaultModel, keyNeeded: false });
  return ok(defaultModel);
}

function noKeys(): Finding {
  return warn("no provider has a key", "set OPENAI_API_KEY, or try without one: gluellm quickstart");
}

function keyCheck(entry: ProviderEntry, settings: Settings, fleet: FleetSeen | undefined): Check {
  return {
    name: `key of ${entry.name}`,
    run: async (signal) => {
      if (!entry.apiKey && !entry.keyOptional) return missingKey(entry, settings, fleet);
      const answer = await askKey(entry, { proxyVariables: settings.system.proxyVariables, signal });
      if (answer.kind === "unreachable") return fail(answer.message, reach(entry));
      return judgeKey(entry, answer.status, answer.models);
    },
  };
}

/** A process that only enqueues needs none, nor does one that always names another model than the default one. */
function missingKey(
  { name, keyVariable }: ProviderEntry,
  settings: Settings,
  fleet: FleetSeen | undefined,
): Finding {
  const remedy = `set ${keyVariable} in the environment or in .env`;
  if (fleet?.cards.some(({ entries }) => name in entries))
    return ok(`${keyVariable} is not set here; workers of the fleet have it`);
  const seen = `${keyVariable} is not set, and no worker has it`;
  if (settings.redisUrl !== undefined) return warn(seen, `${remedy} where workers run`);
  if (queuedModels(fleet).some(({ entry }) => entry === name)) return fail(seen, remedy);
  return warn(`${seen}; only the default model, ${settings.defaultModel}, needs it`, remedy);
}

function reach({ name, baseUrl, keyVariable }: ProviderEntry): string {
  if (name === "simulator") return "start it: gluellm simulate";
  return `check the network, ${baseUrl} (${keyVariable.replace(/_API_KEY$/, "_BASE_URL")}), HTTPS_PROXY and NO_PROXY`;
}

function judgeKey(entry: ProviderEntry, status: number, models: number | undefined): Finding {
  const { name, keyVariable, apiKey } = entry;
  if (status === 200) {
    const listed = models === undefined ? "" : `; it lists ${counted(models, "model")}`;
    return ok(`${apiKey ? `${name} takes it` : `${name} asks for none`}${listed}`);
  }
  if (status === 401 || status === 403)
    return fail(
      `${name} refuses it (${status})`,
      `correct ${keyVariable} where workers run, then start them again`,
    );
  if (status === 402) return fail(`the account at ${name} has no credit (402)`, "add credit");
  if (status === 404 || status === 405)
    return warn(
      `${name} has no list of models (${status}), so the key was not tried`,
      "gluellm test-completion tries it with a small paid call",
    );
  return warn(
    `${name} answered ${status} to the list of its models`,
    `look at the status page of ${name}, and try again`,
  );
}

function prices(settings: Settings, models: readonly ModelRef[]): Finding {
  const all = unpricedModels(settings, models);
  const unpriced = all.filter((key) => !key.startsWith("simulator:"));
  if (all.length > 0 && unpriced.length === 0)
    return ok(`only the simulator's models have none (${named(all)}); GLUELLM_PRICES gives them some`);
  if (unpriced.length === 0) return ok("known for every model in use");
  return warn(
    `none known of ${named(unpriced)}: their cost is null, and cost limits cannot hold`,
    `GLUELLM_PRICES='{"${unpriced[0]}": {"inputPerMillion": 1, "outputPerMillion": 4}}'`,
  );
}

function limits(settings: Settings, models: readonly ModelRef[], fleet: FleetSeen | undefined): Finding {
  const isKnown = ({ key }: ModelRef) =>
    configuredBudget(settings.limits, key) !== undefined ||
    fleet?.states.some((state) => state.key === key && Object.keys(state.limits).length > 0);
  const unknown = models.filter((model) => !isKnown(model)).map(({ key }) => key);
  if (unknown.length === 0) return ok("known for every model in use");
  const seen = `none known yet of ${named(unknown)}`;
  if (settings.learnLimits) return ok(`${seen}; they are learned from the first answers that state them`);
  return warn(
    `${seen}, and none are learned`,
    "give them in GLUELLM_LIMITS, or set GLUELLM_LEARN_LIMITS=true",
  );
}

function named(keys: readonly string[]): string {
  const rest = keys.length - MAX_NAMED;
  return `${keys.slice(0, MAX_NAMED).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}
