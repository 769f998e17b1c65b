/** Returns whether a value is a JSON object: no list, and not null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Returns an object as its fields, to read what a stranger sent; no fields for what is no object. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  return value !== null && typeof value === "object" ? (value as Record<string, unknown>) : {};
}

/** Far above what anybody means: Redis' scripts read 1,000 levels, and functions that call themselves some 5,000. */
const MAX_DEPTH = 200;

/** Returns whether a JSON text nests more than 200 levels. */
export function nestsTooDeep(text: string): boolean {
  return hasBrackets(text, MAX_DEPTH + 1) && findDepth(text, 0, (depth) => depth > MAX_DEPTH) !== undefined;
}

/**
 * Returns the place of the first character from `start` on, outside of strings or their end, at which so many brackets are
 * open as `isFound` says. By hand: a regular expression over strings takes quadratic time when one never ends.
 */
export function findDepth(
  text: string,
  start: number,
  isFound: (depth: number) => boolean,
): number | undefined {
  let depth = 0;
  let isString = false;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (isString) {
      if (character === "\\") at++;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (isFound(depth)) return at;
  }
  return undefined;
}

/** Few texts have so many brackets, and this is quick. */
function hasBrackets(text: string, count: number): boolean {
  const opened = /[[{]/g;
  for (let found = 0; found < count; found++) if (!opened.test(text)) return false;
  return true;
}

/** Returns the value of a JSON text; undefined when it is none, or nests more than 200 levels. */
export function parseJson(text: string): unknown {
  try {
    return nestsTooDeep(text) ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Returns a value as it comes back from JSON: what JSON cannot say is left out or null; undefined stays.
 * @throws TypeError for a cycle or a bigint.
 */
export function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value) ?? "null");
}
