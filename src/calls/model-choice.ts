import { closestNames, didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import { matchesGlob } from "../shared/glob.ts";
import { type ModelRef, modelRef, parseModel } from "../shared/model-name.ts";
import { isListed, listedModels } from "../shared/price-list.ts";
import { type ProviderEntry, requireKey, servesModel } from "../shared/providers.ts";
import type { Settings } from "../shared/settings.ts";

/** The facts by which a model is chosen. */
export interface ModelChoice {
  settings: Settings;
  /** The `-m` option: the model of rows that name none, and the provider of rows that name only a model. */
  defaultModel: string;
  /** Whether this process needs the key; false when only the running fleet does. */
  keyNeeded: boolean;
  /** Whose model a bare name is of; default: the provider of `defaultModel`. */
  vendor?: "anthropic" | "google";
}

/**
 * Returns the model that a request goes to.
 * @throws InputError for an unknown provider or a malformed name, ConfigurationError for a missing key or a model
 * that neither the configuration nor the price list knows (a typo would open a queue that never finishes).
 */
export function chooseModel(
  name: string | undefined,
  { settings, defaultModel, keyNeeded, vendor }: ModelChoice,
): ModelRef {
  const entries = Object.keys(settings.providers);
  const alias = name ?? defaultModel;
  if (Object.hasOwn(settings.deployments, alias)) {
    throw new InputError(
      `"${alias}" stands for deployments, and one model is needed here`,
      `name one of them, such as ${settings.deployments[alias]?.[0]?.model}`,
    );
  }
  const fallback = parseModel(defaultModel, entries);
  const ref =
    name === undefined ? fallback : readName(name, bareEntry(settings, fallback.entry, vendor), settings);
  const entry = settings.providers[ref.entry];
  if (!entry) throw new ConfigurationError(`no provider entry "${ref.entry}"`);
  if (!isKnownModel(entry, ref, settings)) {
    throw new ConfigurationError(
      `unknown model "${ref.key}": neither the price list nor the configuration has it`,
      hintOf(
        didYouMeanModel(alias, ref, settings) ?? "check the spelling,",
        `or allow it with GLUELLM_ALLOWED_MODELS=${ref.key}`,
      ),
      "unknown_model",
    );
  }
  if (keyNeeded) requireKey(entry);
  return ref;
}

/** Names what is close to what was typed: models of its provider, else the same model of another one. */
function didYouMeanModel(typed: string, { entry, model }: ModelRef, settings: Settings): string | undefined {
  const { allowedModels, limits, prices, providers } = settings;
  const own = Object.values(providers).flatMap(({ name, models = [] }) =>
    models.map((each) => `${name}:${each}`),
  );
  const configured = [...allowedModels, ...Object.keys(limits), ...Object.keys(prices), ...own];
  const listed = Object.keys(providers).flatMap(listedModels);
  const known = [...configured.filter((name) => !name.includes("*")), ...listed];
  const [elsewhere] = known.filter((name) => name.endsWith(`:${model}`));
  if (elsewhere !== undefined) return didYouMean(elsewhere, [elsewhere]);
  const prefix = `${entry}:`;
  const ofEntry = known.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const close = closestNames(model, ofEntry).map((name) => prefix + name);
  return close.length > 0 ? `did you mean ${close.join(", ")}?` : didYouMean(typed, known);
}

/** A line of Anthropic's goes to the entry of the run's model where that speaks its dialect. */
function bareEntry(settings: Settings, entry: string, vendor: ModelChoice["vendor"]): string {
  if (vendor === undefined || (vendor === "anthropic" && settings.providers[entry]?.dialect === vendor))
    return entry;
  return vendor === "google" && settings.providers[entry]?.custom ? entry : vendor;
}

/** `llama3:8b` and `ft:gpt-4o-mini:org::id` are model names whole, where the provider has them. */
function readName(name: string, bare: string, settings: Settings): ModelRef {
  const entries = Object.keys(settings.providers);
  const entry = settings.providers[bare];
  const isTagged = /^ft:.|^[\w./-]+:(?:latest|cloud|[\w.-]*\d+(?:\.\d+)?[bm]\b[\w.-]*)$/i.test(name);
  const isOfEntry = entries.some((each) => name.startsWith(`${each}:`) || name.startsWith(`${each}/`));
  if (isTagged && !isOfEntry && entry) {
    const ref = modelRef(bare, name);
    if (name.startsWith("ft:") || isKnownModel(entry, ref, settings)) return ref;
  }
  return parseModel(name, entries, bare);
}

function isKnownModel(entry: ProviderEntry, ref: ModelRef, settings: Settings): boolean {
  const base = /^ft:([^:]+)/.exec(ref.model)?.[1];
  if (base && isKnownModel(entry, modelRef(ref.entry, base), settings)) return true;
  const named = [...Object.keys(settings.limits), ...Object.keys(settings.prices)];
  const configured = [...settings.allowedModels, ...named.filter((name) => !name.includes("*"))];
  if (configured.some((pattern) => matchesGlob(pattern, ref.key))) return true;
  return servesModel(entry, ref.model) || isListed(ref);
}
