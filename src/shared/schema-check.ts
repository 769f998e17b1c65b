import type { z } from "zod";
import { InputError } from "./errors.ts";

/**
 * Returns a value as its schema has it.
 * @throws InputError naming the field that is unknown or wrong: `the options are wrong at stop: …`.
 */
export function checkWith<T>(schema: z.ZodType<T>, value: unknown, what: string, verb = "is"): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".");
  throw new InputError(`${what} ${verb} wrong${path ? ` at ${path}` : ""}: ${issue?.message}`);
}
