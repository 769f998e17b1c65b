import type { z } from "zod";
import { InvalidCallError } from "./invalid-call.ts";

/** Returns a body as its schema has it. @throws InvalidCallError naming the first field that is wrong. */
export function readShape<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const param = issue?.path.join(".") || undefined;
  throw new InvalidCallError(`${param ?? "body"}: ${issue?.message}`, param);
}
