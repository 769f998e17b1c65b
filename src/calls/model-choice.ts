import { ConfigurationError } from "../shared/errors.ts";
import { matchesGlob } from "../shared/glob.ts";
import { type ModelRef, parseModel } from "../shared/model-name.ts";
import { isListed } from "../shared/price-list.ts";
import { type ProviderEntry, requireKey, servesModel } from "../shared/providers.ts";
import type { Settings } from "../shared/settings.ts";

/** The facts by which a model is chosen. */
export interface ModelChoice {
  settings: Settings;
  /** The `-m` option: the model of rows that name none, and the provider of rows that name only a model. */
  defaultModel: string;
  /** Whether this process needs the key; false when only the running fleet does. */
  keyNeeded: boolean;
}

/**
 * Returns the model that a request goes to.
 * @throws InputError for an unknown provider or a malformed name, ConfigurationError for a missing key or a model
 * that neither the configuration nor the price list knows (a typo would open a queue that never finishes).
 */
export function chooseModel(
  name: string | undefined,
  { settings, defaultModel, keyNeeded }: ModelChoice,
): ModelRef {
  const entries = Object.keys(settings.providers);
  const fallback = parseModel(defaultModel, entries);
  const ref = name === undefined ? fallback : parseModel(name, entries, fallback.entry);
  const entry = settings.providers[ref.entry];
  if (!entry) throw new ConfigurationError(`no provider entry "${ref.entry}"`);
  if (!isKnownModel(entry, ref, settings)) {
    throw new ConfigurationError(
      `unknown model "${ref.key}": neither the price list nor the configuration has it`,
      `check the spelling, or allow it with GLUELLM_ALLOWED_MODELS=${ref.key}`,
      "unknown_model",
    );
  }
  if (keyNeeded) requireKey(entry);
  return ref;
}

function isKnownModel(entry: ProviderEntry, ref: ModelRef, settings: Settings): boolean {
  const named = [...Object.keys(settings.limits), ...Object.keys(settings.prices)];
  const configured = [...settings.allowedModels, ...named.filter((name) => !name.includes("*"))];
  if (configured.some((pattern) => matchesGlob(pattern, ref.key))) return true;
  return servesModel(entry, ref.model) || isListed(ref);
}
