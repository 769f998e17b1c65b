const CHARACTERS = [
  "a",
  "0",
  "A",
  " ",
  ...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)),
  "é",
  "\n",
];
const SIMPLE = "simulated";
const MAX_REPEATS = 10_000;

/** What the parser stands at, and how often it repeats what may be repeated further. */
interface Cursor {
  source: string;
  at: number;
  further: number;
}

/**
 * Returns a text of at least `minLength` characters that the pattern matches: the first alternative of each group, the
 * fewest repetitions that reach the length. Lookaround and back references are read over, so a pattern that hangs on
 * them may give a text that it does not match.
 */
export function textOfPattern(pattern: string, minLength = 0): string {
  const expression = compile(pattern);
  if (!expression) return SIMPLE;
  let text = SIMPLE.padEnd(minLength, ".");
  for (const further of [undefined, 0, 1, 2, 4, 8, minLength]) {
    if (further !== undefined) text = alternativesOf({ source: pattern, at: 0, further });
    if (text.length >= minLength && expression.test(text)) return text;
  }
  return text;
}

function compile(pattern: string): RegExp | undefined {
  try {
    return new RegExp(pattern);
  } catch {
    return undefined;
  }
}

/** Returns the first alternative; the others are read over. */
function alternativesOf(cursor: Cursor): string {
  const first = sequenceOf(cursor);
  while (cursor.source[cursor.at] === "|") {
    cursor.at++;
    sequenceOf(cursor);
  }
  return first;
}

function sequenceOf(cursor: Cursor): string {
  let text = "";
  while (cursor.at < cursor.source.length && !"|)".includes(cursor.source[cursor.at] ?? "")) {
    const atom = atomOf(cursor);
    text += atom.repeat(repeatsOf(cursor));
  }
  return text;
}

function atomOf(cursor: Cursor): string {
  const character = cursor.source[cursor.at] ?? "";
  if (character === "(") return groupOf(cursor);
  if (character === "[") return characterOf(take(cursor, /\[(?:[^\]\\]|\\.)*\]/sy));
  if (character === "\\")
    return escapeOf(take(cursor, /\\(?:u\{?[\da-f]+\}?|x[\da-f]{2}|[pP]\{[^}]*\}|k<[^>]*>|.)/sy));
  cursor.at++;
  if (character === "^" || character === "$") return "";
  return character === "." ? "a" : character;
}

function groupOf(cursor: Cursor): string {
  const opening = take(cursor, /\((?:\?(?:[:=!]|<[=!]|<[^>]+>))?/y);
  const text = alternativesOf(cursor);
  cursor.at++;
  return /^\(\?<?[=!]/.test(opening) ? "" : text;
}

function escapeOf(escaped: string): string {
  if (/^\\(?:[bB1-9]|k<)/.test(escaped)) return "";
  return /^\\[wWdDsSpPuxnrtvf0]/.test(escaped) ? characterOf(escaped) : escaped.slice(1);
}

/** Returns a character that the class, as it is written, takes. */
function characterOf(characterClass: string): string {
  const expression = new RegExp(`^${characterClass}$`, /\\[pP]\{/.test(characterClass) ? "u" : "");
  return CHARACTERS.find((character) => expression.test(character)) ?? "";
}

function repeatsOf(cursor: Cursor): number {
  const quantifier = take(cursor, /(?:[*+?]|\{\d+(?:,\d*)?\})\??/y);
  if (quantifier === "") return 1;
  const [, least = quantifier.startsWith("+") ? "1" : "0"] = /^\{(\d+)/.exec(quantifier) ?? [];
  const most = /^[*+]|,\}/.test(quantifier)
    ? MAX_REPEATS
    : quantifier.startsWith("?")
      ? 1
      : Number(/(\d+)\}/.exec(quantifier)?.[1]);
  return Math.min(Number(least) + cursor.further, most, MAX_REPEATS);
}

function take(cursor: Cursor, expression: RegExp): string {
  expression.lastIndex = cursor.at;
  const [text = ""] = expression.exec(cursor.source) ?? [];
  cursor.at += text.length;
  return text;
}
