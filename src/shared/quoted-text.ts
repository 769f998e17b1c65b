const MAX_PROVIDER_CHARS = 2000;
const MAX_REJECTED_BYTES = 16 * 1024;

/** Returns what errors keep of a provider's words, in one line; undefined when nothing of them can be shown. */
export function providerWords(text: string): string | undefined {
  const head = text.slice(0, 4 * MAX_PROVIDER_CHARS).toWellFormed();
  const words = head
    .replace(/\s+/g, " ")
    .replace(/[\p{Cc}\p{Cf}]/gu, "")
    .trim();
  return words.slice(0, MAX_PROVIDER_CHARS) || undefined;
}

/** The last answer to a structured call, and what was wrong with it. */
export interface RejectedAnswer {
  /** The answer's text, at most 16 KiB. */
  text: string;
  /** The violated paths and rules, a line each. */
  problem: string;
}

/** Returns what errors keep of a rejected answer. Its text ends at a whole character. */
export function keptAnswer({ text, problem }: RejectedAnswer): RejectedAnswer {
  const bytes = Buffer.from(text.slice(0, MAX_REJECTED_BYTES));
  const head = bytes.subarray(0, MAX_REJECTED_BYTES);
  return { text: new TextDecoder().decode(head, { stream: true }), problem };
}
