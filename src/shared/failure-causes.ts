import { z } from "zod";

export const failureCauseSchema = z.object({
  /** The code of the error. */
  code: z.string(),
  /** What one of these errors says. */
  message: z.string(),
  hint: z.string().optional(),
  /** What the provider said of one of them; it may quote the request. */
  providerMessage: z.string().optional(),
  rows: z.number(),
  /** Of the first of these rows, at most five. */
  customIds: z.array(z.string()),
});
/** Rows that failed for one cause. */
export type FailureCause = z.infer<typeof failureCauseSchema>;

/** Causes beyond these are counted under their code alone, and codes beyond twice as many are not counted. */
const MAX_CAUSES = 20;
const MAX_EXAMPLES = 5;
const MAX_ID_CHARS = 100;
const MAX_CHARS = 300;

/** Groups failed rows by their cause: errors with the same code whose messages differ in numbers and quoted names alone are one. */
export class FailureCauses {
  readonly #causes = new Map<string, FailureCause>();

  add(
    customId: string,
    { code, message, hint, providerMessage }: Omit<FailureCause, "rows" | "customIds">,
  ): void {
    const full = `${code} ${shapeOf(message)}`;
    const key = this.#causes.has(full) || this.#causes.size < MAX_CAUSES ? full : code;
    const cause = this.#causes.get(key) ?? {
      code,
      message: key === code ? "other errors with this code" : message.slice(0, MAX_CHARS),
      ...(key !== code && hint !== undefined && { hint: hint.slice(0, MAX_CHARS) }),
      ...(key !== code && providerMessage && { providerMessage: providerMessage.slice(0, MAX_CHARS) }),
      rows: 0,
      customIds: [],
    };
    if (this.#causes.size >= 2 * MAX_CAUSES && !this.#causes.has(key)) return;
    cause.rows += 1;
    if (cause.customIds.length < MAX_EXAMPLES) cause.customIds.push(customId.slice(0, MAX_ID_CHARS));
    this.#causes.set(key, cause);
  }

  /** Returns the causes, that of the most rows first. */
  all(): FailureCause[] {
    return [...this.#causes.values()].sort((a, b) => b.rows - a.rows);
  }
}

function shapeOf(message: string): string {
  return message
    .slice(0, MAX_CHARS)
    .replace(/"[^"]*"|'[^']*'/g, '""')
    .replace(/[0-9a-f-]*\d[0-9a-f-]*/gi, "#");
}
