import { z } from "zod";
import { InputError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";

/** The faults that are an HTTP error answer. */
export const ERROR_FAULTS = [
  "400",
  "401",
  "403",
  "404",
  "429",
  "500",
  "503",
  "529",
  "insufficient_quota",
  "context_length_exceeded",
] as const;
export type ErrorFault = (typeof ERROR_FAULTS)[number];

/**
 * The kinds of faults. `drop`: the socket is destroyed when the answer is due. `hang`: no answer for `hangMs`, then
 * `drop`. `cut`: the answer ends cleanly but too early: a stream before its finish reason, a body in the middle of its
 * JSON. `stream_error`: an overload in the middle of a stream, as an error event; without a stream the 529 answer.
 * `slow`: the answer comes after `latencyMs`.
 */
export const FAULT_KINDS = [...ERROR_FAULTS, "drop", "hang", "cut", "stream_error", "slow"] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A span of time that a timer can take, in milliseconds. */
export const milliseconds = z
  .number()
  .min(0)
  .max(2 ** 31 - 1);

const ruleSchema = z.strictObject({
  match: z.string(),
  times: z.int().positive().optional(),
  fault: z.enum(FAULT_KINDS),
  retryAfterMs: milliseconds.optional(),
  hangMs: milliseconds.optional(),
  latencyMs: milliseconds.optional(),
});

const share = z.number().min(0).max(1).default(0);
const shares = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, share])) as Record<
  FaultKind,
  typeof share
>;

const faultsSchema = z
  .strictObject({
    ...shares,
    /** The wait that a 429 names (default 1,000), and a 503 and 529 (default: none). */
    retryAfterMs: milliseconds.optional(),
    hangMs: milliseconds.default(600_000),
    /** The time to answer of `slow`. */
    latencyMs: milliseconds.default(10_000),
    script: z.array(ruleSchema).default([]),
  })
  .refine((faults) => FAULT_KINDS.reduce((sum, kind) => sum + faults[kind], 0) <= 1 + 1e-9, {
    error: "the shares add up to more than 1",
  });

/**
 * Which requests go wrong. A kind maps to its share of all requests; a script rule gives its fault to each distinct
 * request whose last user message contains `match`, the first `times` times it is seen (default: always).
 */
export type Faults = z.input<typeof faultsSchema>;
export type FaultRule = z.infer<typeof ruleSchema>;
export type CheckedFaults = z.infer<typeof faultsSchema>;

/**
 * Returns checked faults.
 * @param value faults as JSON text or as an object; `undefined` for none
 * @throws InputError naming the first fault of the faults
 */
export function readFaults(value: unknown): CheckedFaults {
  const given = typeof value === "string" ? parseJson(value) : (value ?? {});
  if (given === undefined) throw notJson();
  const parsed = faultsSchema.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue?.path.length ? ` at ${issue.path.join(".")}` : "";
  throw new InputError(
    `faults${place}: ${issue?.message}`,
    `kinds with their share, such as {"429": 0.02, "hang": 0.01}; known kinds: ${FAULT_KINDS.join(", ")}; also retryAfterMs, hangMs, latencyMs, script`,
    "invalid_faults",
  );
}

function notJson(): InputError {
  const hint = `in a shell put it in single quotes: '{"429": 0.02}'`;
  return new InputError("faults: not valid JSON", hint, "invalid_faults");
}
