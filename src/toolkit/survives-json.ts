/** The deepest value, below what `canonicalJson` can take, which wraps it. */
const MAX_DEPTH = 90;

/**
 * Returns whether a value comes back from JSON as it went in: null, booleans, texts, finite numbers, and lists and
 * plain objects of them; an object's undefined field counts as absent. A NaN, bigint, Date, Map, instance of a class,
 * function or cycle does not.
 */
export function survivesJson(value: unknown, depth = 0): boolean {
  if (value === null || typeof value === "boolean" || typeof value === "string") return true;
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value !== "object" || depth >= MAX_DEPTH) return false;
  // Spread: a hole in a list becomes undefined.
  if (Array.isArray(value)) return [...value].every((item) => survivesJson(item, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  if (!isPlain || Object.getOwnPropertySymbols(value).length > 0) return false;
  return Object.values(value).every((field) => field === undefined || survivesJson(field, depth + 1));
}
