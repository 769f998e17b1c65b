import { didYouMean, hintOf } from "./did-you-mean.ts";
import { matchesGlob } from "./glob.ts";

/** What a setting says of `entry:model`: its own entry, else the longest pattern that fits, else nothing. */
export function ofModel<T>(byPattern: Readonly<Record<string, T>>, key: string): T | undefined {
  if (Object.hasOwn(byPattern, key)) return byPattern[key];
  const patterns = Object.keys(byPattern).filter((pattern) => matchesGlob(pattern, key));
  const best = patterns.sort((a, b) => b.length - a.length)[0];
  return best === undefined ? undefined : byPattern[best];
}

/** A fault for each pattern that fits no model, such as one without its provider: it would never be used. */
export function uselessPatterns(
  variable: string,
  patterns: readonly string[],
  entries: readonly string[],
): string[] {
  const fits = (pattern: string) => {
    const [entry = "", ...model] = pattern.split(":");
    const isKnown = entries.some((name) => matchesGlob(entry, name));
    return isKnown && (model.join(":") !== "" || pattern.endsWith("*"));
  };
  return patterns
    .filter((pattern) => !fits(pattern))
    .map((pattern) => {
      const guess = didYouMean(pattern.split(":", 1)[0] ?? "", entries);
      const how = `write provider:model with one of ${entries.join(", ")}`;
      return `${variable} at ${pattern}: fits no model; ${hintOf(guess, how)}`;
    });
}
