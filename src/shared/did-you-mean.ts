const MAX_NAMES = 3;
const MAX_EDITS = 3;
/** A longer text is no mistyped name. */
const MAX_CHARS = 200;

/** Returns `did you mean a, b?` with the known names that a mistyped one is closest to; undefined when none is close. */
export function didYouMean(name: string, known: Iterable<string>): string | undefined {
  const names = closestNames(name, known);
  return names.length > 0 ? `did you mean ${names.join(", ")}?` : undefined;
}

/** Returns the known names that a mistyped one is closest to, three at most; none when none is close. */
export function closestNames(name: string, known: Iterable<string>): string[] {
  const typed = name.slice(0, MAX_CHARS).toLowerCase();
  const close = [...new Set(known)]
    .map((each) => ({ each, edits: editDistance(typed, each.toLowerCase()) }))
    .filter(({ each, edits }) => edits <= Math.max(1, 0.4 * Math.min(typed.length, each.length)));
  const least = Math.min(MAX_EDITS, ...close.map(({ edits }) => edits));
  return close.flatMap(({ each, edits }) => (edits === least ? [each] : [])).slice(0, MAX_NAMES);
}

/** Returns how many characters must be added, removed, changed or swapped with the next to make one text of the other. */
function editDistance(from: string, to: string): number {
  let [before, row]: number[][] = [[], Array.from({ length: to.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const changed = (row?.[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swapped = isSwapped ? (before?.[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(changed, swapped, (row?.[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row?.[to.length] ?? 0;
}

/** Returns the parts of a hint that are there, as one text. */
export function hintOf(...parts: readonly (string | undefined)[]): string {
  const there = parts.filter((part) => part !== undefined);
  return there
    .map((part, i) => (i === there.length - 1 ? part : `${part}${/[?,]$/.test(part) ? "" : ";"}`))
    .join(" ");
}
