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
interface Run {
  source: string;
  at: number;
  further: number;
}

/**
 * A text of at least `minLength` characters that the pattern matches: the first alternative of each group, the fewest
 * repetitions that reach the length. Lookaround and back references are read over, so a pattern that hangs on them may
 * give a text that it does not match.
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

/** The first alternative; the others are read over. */
function alternativesOf(run: Run): string {
  const first = sequenceOf(run);
  while (run.source[run.at] === "|") {
    run.at++;
    sequenceOf(run);
  }
  return first;
}

function sequenceOf(run: Run): string {
  let text = "";
  while (run.at < run.source.length && !"|)".includes(run.source[run.at] ?? "")) {
    const atom = atomOf(run);
    text += atom.repeat(repeatsOf(run));
  }
  return text;
}

function atomOf(run: Run): string {
  const character = run.source[run.at] ?? "";
  if (character === "(") return groupOf(run);
  if (character === "[") return characterOf(take(run, /\[(?:[^\]\\]|\\.)*\]/sy));
  if (character === "\\")
    return escapeOf(take(run, /\\(?:u\{?[\da-f]+\}?|x[\da-f]{2}|[pP]\{[^}]*\}|k<[^>]*>|.)/sy));
  run.at++;
  if (character === "^" || character === "$") return "";
  return character === "." ? "a" : character;
}

function groupOf(run: Run): string {
  const opening = take(run, /\((?:\?(?:[:=!]|<[=!]|<[^>]+>))?/y);
  const text = alternativesOf(run);
  run.at++;
  return /^\(\?<?[=!]/.test(opening) ? "" : text;
}

function escapeOf(escaped: string): string {
  if (/^\\(?:[bB1-9]|k<)/.test(escaped)) return "";
  return /^\\[wWdDsSpPuxnrtvf0]/.test(escaped) ? characterOf(escaped) : escaped.slice(1);
}

/** A character that the class, as it is written, takes. */
function characterOf(characterClass: string): string {
  const expression = new RegExp(`^${characterClass}$`, /\\[pP]\{/.test(characterClass) ? "u" : "");
  return CHARACTERS.find((character) => expression.test(character)) ?? "";
}

function repeatsOf(run: Run): number {
  const quantifier = take(run, /(?:[*+?]|\{\d+(?:,\d*)?\})\??/y);
  if (quantifier === "") return 1;
  const [, least = quantifier.startsWith("+") ? "1" : "0"] = /^\{(\d+)/.exec(quantifier) ?? [];
  const most = /^[*+]|,\}/.test(quantifier)
    ? MAX_REPEATS
    : quantifier.startsWith("?")
      ? 1
      : Number(/(\d+)\}/.exec(quantifier)?.[1]);
  return Math.min(Number(least) + run.further, most, MAX_REPEATS);
}

function take(run: Run, expression: RegExp): string {
  expression.lastIndex = run.at;
  const [text = ""] = expression.exec(run.source) ?? [];
  run.at += text.length;
  return text;
}
