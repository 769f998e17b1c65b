import type { Budget, Limits } from "./limits-setting.ts";
import { ofModel } from "./model-pattern.ts";

/** The limits that a provider states in its answers, per minute. */
export const STATED_LIMITS = ["rpm", "tpm", "itpm", "otpm"] as const;
export type StatedLimits = Pick<Budget, (typeof STATED_LIMITS)[number]>;

/** The configured budget of `entry:model`: its own entry, else the longest pattern that fits, else none. */
export function configuredBudget(limits: Readonly<Limits>, key: string): Budget | undefined {
  return ofModel(limits, key);
}

/** What a budget is kept under: the name of its bucket, which has no colon, else `entry:model` itself. */
export function budgetId(limits: Readonly<Limits>, key: string): string {
  return configuredBudget(limits, key)?.bucket ?? key;
}

/**
 * The budget in force. Of a configured and a stated limit the lower one counts: the provider refuses what is above
 * its own, and an operator who asks for less means it.
 */
export function budgetInForce(configured?: Budget, stated?: StatedLimits): Budget | undefined {
  if (!stated || STATED_LIMITS.every((name) => stated[name] === undefined)) return configured;
  const lower = STATED_LIMITS.map((name) => [name, lowerOf(configured?.[name], stated[name])] as const);
  return { ...configured, ...Object.fromEntries(lower.filter(([, limit]) => limit !== undefined)) };
}

/** One limit in force and where it comes from. */
export interface LimitInForce {
  perMinute: number;
  source: "configured" | "learned";
}

/** What is in force for `entry:model`, limit by limit, for people to see. @param learned by budget id */
export function limitsOf(
  limits: Readonly<Limits>,
  learned: ReadonlyMap<string, StatedLimits>,
  key: string,
): ReturnType<typeof limitsInForce> {
  return limitsInForce(configuredBudget(limits, key), learned.get(budgetId(limits, key)));
}

export function limitsInForce(
  configured: Budget = {},
  stated: StatedLimits = {},
): Partial<Record<keyof StatedLimits, LimitInForce>> {
  const entries = STATED_LIMITS.flatMap((name) => {
    const perMinute = lowerOf(configured[name], stated[name]);
    const source = perMinute === configured[name] ? ("configured" as const) : ("learned" as const);
    return perMinute === undefined ? [] : [[name, { perMinute, source }] as const];
  });
  return Object.fromEntries(entries);
}

function lowerOf(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
