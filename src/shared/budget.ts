import { matchesGlob } from "./glob.ts";
import type { Budget } from "./settings.ts";

/** The budget of `entry:model`: its own entry, else the longest pattern that fits, else none. */
export function budgetFor(limits: Readonly<Record<string, Budget>>, key: string): Budget | undefined {
  const patterns = Object.keys(limits).filter((pattern) => matchesGlob(pattern, key));
  const best = patterns.sort((a, b) => b.length - a.length)[0];
  return limits[key] ?? (best === undefined ? undefined : limits[best]);
}
