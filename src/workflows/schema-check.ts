import type { z } from "zod";
import { InputError } from "../shared/errors.ts";

/** @throws InputError naming the field that is wrong. */
export function checkWith<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".");
  throw new InputError(`${what} is wrong${path ? ` at ${path}` : ""}: ${issue?.message}`);
}
