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
  if (!hasBrackets(text, MAX_DEPTH + 1)) return false;
  let depth = 0;
  let isString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (isString) {
      if (character === "\\") at++;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
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
