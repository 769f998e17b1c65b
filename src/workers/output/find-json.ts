const FENCE = /```[^\n`]*\n([\s\S]*?)```/g;
const MAX_CANDIDATES = 20;

/**
 * The JSON values that a text may mean: all of it; else its fenced blocks; else the objects and lists that stand in
 * it, from the outermost brackets. What begins and never closes ends the search, since the pieces of a broken
 * answer are not the answer.
 */
export function findJson(text: string): unknown[] {
  const whole = parse(text);
  if (whole) return [whole.value];
  const fenced = [...text.matchAll(FENCE)]
    .slice(0, MAX_CANDIDATES)
    .flatMap(([, block = ""]) => parse(block) ?? []);
  const found = fenced.length > 0 ? fenced : balanced(text).flatMap((piece) => parse(piece) ?? []);
  return found.map(({ value }) => value);
}

function parse(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

function balanced(text: string): string[] {
  const pieces: string[] = [];
  let start = text.search(/[{[]/);
  while (start >= 0 && pieces.length < MAX_CANDIDATES) {
    const end = closingOf(text, start);
    if (end === undefined) break;
    pieces.push(text.slice(start, end));
    const next = text.slice(end).search(/[{[]/);
    start = next < 0 ? next : end + next;
  }
  return pieces;
}

/** Where the bracket at `start` is closed again, brackets in strings left out. */
function closingOf(text: string, start: number): number | undefined {
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]]/gs;
  token.lastIndex = start;
  let depth = 0;
  for (let match = token.exec(text); match; match = token.exec(text)) {
    if (match[0] === "{" || match[0] === "[") depth++;
    else if (match[0] === "}" || match[0] === "]") depth--;
    if (depth === 0) return token.lastIndex;
  }
  return undefined;
}
