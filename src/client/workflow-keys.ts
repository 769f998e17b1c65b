import { chooseModels } from "../calls/model-chain.ts";
import { isObject } from "../shared/json.ts";
import { type ProviderEntry, requireKey } from "../shared/providers.ts";
import type { Settings } from "../shared/settings.ts";

const MAX_DEPTH = 8;

/**
 * Looks, before a run begins, at the models that its input names (those of its agents), and at the default model: where
 * this process is the only worker, a call without its key would wait for ever.
 * @throws ConfigurationError (`missing_key`) for a model of the input without a key; for the default model's only when no
 * entry has a key, since the workflow's own calls may name other models
 */
export function checkKeys(input: unknown, settings: Settings, defaultModel = settings.defaultModel): void {
  const named = [...modelsIn(input, settings, 0)];
  for (const entry of named) requireKey(entry);
  const entries = Object.values(settings.providers);
  if (named.length > 0 || entries.some(({ apiKey }) => apiKey)) return;
  chooseModels(undefined, { settings, defaultModels: defaultModel, keyNeeded: true });
}

/** The entries of all that looks like `{ model: "openai:gpt-4o" }`, or a list of such names. */
function* modelsIn(value: unknown, settings: Settings, depth: number): Iterable<ProviderEntry> {
  if (depth > MAX_DEPTH || value === null || typeof value !== "object") return;
  for (const [key, child] of Object.entries(value)) {
    if (key === "model") yield* entriesOf([child].flat(), settings);
    if (Array.isArray(child) || isObject(child)) yield* modelsIn(child, settings, depth + 1);
  }
}

function* entriesOf(names: readonly unknown[], { providers }: Settings): Iterable<ProviderEntry> {
  for (const name of names) {
    const entry = typeof name === "string" ? providers[name.split(":", 1)[0] ?? ""] : undefined;
    if (entry) yield entry;
  }
}
