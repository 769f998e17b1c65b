import type { InputError } from "./errors.ts";

/**
 * Returns values by their names; the same value may come twice.
 * @throws what `duplicate` returns for a value whose name another one has
 */
export function byName<T>(
  values: Iterable<T>,
  nameOf: (value: T) => string,
  duplicate: (value: T) => InputError,
): Map<string, T> {
  const named = new Map<string, T>();
  for (const value of values) {
    const name = nameOf(value);
    if ((named.get(name) ?? value) !== value) throw duplicate(value);
    named.set(name, value);
  }
  return named;
}
