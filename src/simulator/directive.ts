import { z } from "zod";
import { InvalidCallError } from "./call.ts";

const directiveSchema = z.strictObject({
  /** The answer's text, as it stands. */
  reply: z.string().optional(),
  /** Completion tokens of the answer. */
  tokens: z.int().min(0).max(200_000).optional(),
  /** Time to answer, without jitter. */
  latencyMs: z.number().min(0).max(3_600_000).optional(),
});
export type Directive = z.infer<typeof directiveSchema>;

/**
 * The `#sim {json}` line of a user message, by which a caller sets its own answer.
 * @throws InvalidCallError when the line is there and cannot be used.
 */
export function readDirective(text: string): Directive {
  if (!text.includes("#sim {")) return {};
  const json = /^#sim (\{.*\})[ \t\r]*$/m.exec(text)?.[1];
  if (json === undefined) return {};
  try {
    return directiveSchema.parse(JSON.parse(json));
  } catch (error) {
    const reason = error instanceof z.ZodError ? error.issues[0]?.message : "not JSON";
    throw new InvalidCallError(`#sim line: ${reason}; known are reply, tokens and latencyMs`, "messages");
  }
}
