/** Distinct values of a label in a process; each makes a series of its own at every instrument that has the label. */
const MAX_VALUES = 100;
const MAX_CHARS = 128;
const OTHER = "other";

/** Labels whose values come from users, models and providers. */
const CAPPED: ReadonlySet<string> = new Set([
  ...["queue", "model", "agent", "tenant", "tool", "workflow", "code", "budget", "pool"],
]);

/** Keeps the number of series bounded: a label's values beyond the first hundred count as `other`. */
export class LabelCaps {
  readonly #seen = new Map<string, Set<string>>();

  /** Returns the labels, with `other` in place of values that are too many. */
  cap<T extends Record<string, string>>(labels: T): T {
    const capped: Record<string, string> = {};
    for (const name in labels) {
      const value = labels[name] ?? "";
      capped[name] = CAPPED.has(name) ? this.#known(name, value) : value;
    }
    return capped as T;
  }

  #known(name: string, value: string): string {
    let seen = this.#seen.get(name);
    if (!seen) {
      seen = new Set();
      this.#seen.set(name, seen);
    }
    if (seen.has(value)) return value;
    if (value.length > MAX_CHARS || seen.size >= MAX_VALUES) return OTHER;
    seen.add(value);
    return value;
  }
}
