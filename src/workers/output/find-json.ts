import { findDepth, parseJson } from "../../shared/json.ts";

const FENCE = /```[^\n`]*\n([\s\S]*?)```/g;
const MAX_CANDIDATES = 20;

/**
 * The JSON values that a text may mean: all of it; else its fenced blocks; else the objects and lists that stand in
 * it, from the outermost brackets. What begins and never closes ends the search, since the pieces of a broken
 * answer are not the answer.
 */
export function findJson(text: string, parse: (text: string) => unknown = parseJson): unknown[] {
  const whole = parse(text);
  if (whole !== undefined) return [whole];
  const fenced = [...text.matchAll(FENCE)]
    .slice(0, MAX_CANDIDATES)
    .map(([, block = ""]) => parse(block))
    .filter((value) => value !== undefined);
  return fenced.length > 0
    ? fenced
    : balanced(text)
        .map((piece) => parse(piece))
        .filter((value) => value !== undefined);
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
  const at = findDepth(text, start, (depth) => depth === 0);
  return at === undefined ? undefined : at + 1;
}
