/** The largest content that a page shows, as characters of JSON; the result routes have it whole. */
const MAX_CHARS = 300_000;
const MAX_TEXT = 20_000;
const MAX_ITEMS = 200;

/** Returns a value short enough for a page: long texts and lists are cut, with a note of how much is left out. */
export function capped(value: unknown): unknown {
  if (value === undefined) return undefined;
  const text = JSON.stringify(value);
  if (text === undefined || text.length <= MAX_TEXT) return value;
  const cut = cutDown(value);
  const rest = JSON.stringify(cut);
  return rest.length <= MAX_CHARS
    ? cut
    : `${rest.slice(0, MAX_CHARS)}… (${rest.length - MAX_CHARS} more characters)`;
}

function cutDown(value: unknown): unknown {
  if (typeof value === "string")
    return value.length <= MAX_TEXT
      ? value
      : `${value.slice(0, MAX_TEXT)}… (${value.length - MAX_TEXT} more characters)`;
  if (Array.isArray(value)) {
    const shown = value.slice(0, MAX_ITEMS).map(cutDown);
    return value.length > MAX_ITEMS ? [...shown, `… (${value.length - MAX_ITEMS} more)`] : shown;
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, cutDown(part)]));
}
