import { didYouMean } from "./did-you-mean.ts";
import type { Variables } from "./env-file.ts";
import { variableStem } from "./provider-settings.ts";
import { settingsSchema } from "./settings-schema.ts";

/** Variables with our prefix that are no settings of the schema. */
const OTHERS = ["PROVIDERS", "TRUST_ENV_FILE", "ALLOW_ENV_FILE_BASE_URL", "RELAUNCHED_BY"];
/** What the project's own tests and tools are told. */
const OF_TESTS = /^GLUELLM_(TEST|BENCH)_/;

/**
 * Returns a sentence for each variable with our prefix that nothing reads: it is mistyped, or of another version.
 * @param entries the names of the provider entries
 * @param keyVariables the names of their keys' variables, with and without the prefix
 */
export function unknownVariables(
  variables: Variables,
  entries: readonly string[],
  keyVariables: readonly string[],
): string[] {
  const baseUrls = entries.map((name) => `${variableStem(name)}_BASE_URL`);
  const ours = [...Object.keys(settingsSchema.shape), ...OTHERS, ...baseUrls].map((key) => `GLUELLM_${key}`);
  const known = new Set([...ours, ...keyVariables]);
  const unknown = Object.keys(variables).filter(
    (name) => name.startsWith("GLUELLM_") && variables[name] && !known.has(name) && !OF_TESTS.test(name),
  );
  return unknown.sort().map((name) => {
    const hint = didYouMean(name, known);
    return `${name} is no setting and has no effect${hint ? `; ${hint}` : ""}`;
  });
}
