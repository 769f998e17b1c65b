/** The share of a chunk's new text from which on it ends with a line, or with a word, where it can. */
const LEAST_FILLED = 0.75;

/**
 * Returns parts of at most `size` characters (UTF-16 units), each of which begins with the last `overlap` characters of
 * the one before; one unit more or less where a character of two units would be split. `overlap` must be less than
 * `size`.
 */
export function chunksOf(text: string, size: number, overlap: number): string[] {
  const chunks: string[] = [];
  for (let start = 0; ; ) {
    const end = endOf(text, start, size, overlap);
    chunks.push(text.slice(start, end));
    if (end === text.length) return chunks;
    start = Math.max(end - overlap, start + 1);
    if (splitsCharacter(text, start)) start += 1;
  }
}

function endOf(text: string, start: number, size: number, overlap: number): number {
  const limit = start + size;
  if (limit >= text.length) return text.length;
  const least = start + overlap + Math.ceil((size - overlap) * LEAST_FILLED);
  const tail = text.slice(least - 1, limit);
  for (const mark of ["\n", " "]) {
    const at = tail.lastIndexOf(mark);
    if (at >= 0) return least + at;
  }
  if (!splitsCharacter(text, limit)) return limit;
  return size > 1 ? limit - 1 : limit + 1;
}

function splitsCharacter(text: string, index: number): boolean {
  return (text.codePointAt(index - 1) ?? 0) > 0xffff;
}
