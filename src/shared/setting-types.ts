import { z } from "zod";

/* The kinds of values that settings have, read from the text of a variable. */

const number = (text: unknown) => (typeof text === "string" && text.trim() !== "" ? Number(text) : text);

function ranged(schema: z.ZodNumber, min: number, max: number): z.ZodNumber {
  const message = `must be from ${min} to ${max}`;
  return schema.min(min, message).max(max, message);
}

export function integer(min: number, max: number) {
  return z.preprocess(number, ranged(z.number("must be a number").int("must be a whole number"), min, max));
}

export function seconds(min: number, max: number) {
  return z.preprocess(number, ranged(z.number("must be a number of seconds"), min, max));
}

export function numberFrom(min: number, max: number) {
  return z.preprocess(number, ranged(z.number("must be a number"), min, max));
}

/** A number above 0. */
export function positiveNumber(max: number) {
  const message = `must be above 0, and at most ${max}`;
  return z.preprocess(number, z.number("must be a number").positive(message).max(max, message));
}

/** A share of 1. */
export function share(min: number) {
  return z.preprocess(number, ranged(z.number(`must be a share from ${min} to 1`), min, 1));
}

export const booleanText = z
  .enum(["true", "false", "1", "0", "yes", "no", "on", "off"], "must be true or false")
  .transform((text) => ["true", "1", "yes", "on"].includes(text));
