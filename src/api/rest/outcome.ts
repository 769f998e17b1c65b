import { z } from "zod";
import { toErrorRecord } from "../../shared/error-record.ts";
import { GlueError, JobLostError } from "../../shared/errors.ts";
import { encode } from "../../shared/serialize.ts";
import type { Call } from "../route.ts";

/*
 * What a job, a run or an update came to, as the REST API tells it: the error of a job is no error of the request that asks
 * for it.
 */

export const errorSchema = z
  .looseObject({
    code: z.string(),
    category: z.string(),
    message: z.string(),
    hint: z.string().optional(),
  })
  .meta({ id: "WorkError", description: "Why a job, a run or a step failed." });

/** How long a request waits for an end. */
export const waitSchema = z.object({
  waitMs: z.coerce
    .number()
    .int()
    .min(0)
    .max(60_000)
    .default(0)
    .meta({ description: "How long to wait for the end, in milliseconds; 0: not at all." }),
});

/** What came of work: its value, its error, or neither yet. */
export type Outcome<T> = { value: T } | { error: GlueError } | undefined;

/**
 * Waits for the end of work, at most `waitMs`, and no longer than the server stays.
 * @param ask waits for the value with these options, and throws the error of the work
 * @throws what is no error of the work itself: the object is lost, Redis does not answer
 */
export async function outcomeWithin<T>(
  { context, signal }: Call,
  waitMs: number | undefined,
  ask: (options: { signal: AbortSignal; timeoutMs?: number }) => Promise<T>,
): Promise<Outcome<T>> {
  const end = AbortSignal.any([signal, context.draining]);
  try {
    return { value: await ask({ signal: end, ...(waitMs !== undefined && { timeoutMs: waitMs }) }) };
  } catch (error) {
    if (context.draining.aborted || isWaitOver(error)) return undefined;
    if (error instanceof GlueError && !(error instanceof JobLostError) && !signal.aborted) return { error };
    throw error;
  }
}

function isWaitOver(error: unknown): boolean {
  return error instanceof GlueError && error.code === "result_timeout";
}

/** Returns an error of work as its owner sees it. */
export function errorOf(error: GlueError): z.infer<typeof errorSchema> {
  return shownError(toErrorRecord(error));
}

/** Returns a stored error without where in the code it was thrown. */
export function shownError<T extends object>(record: T): Omit<T, "stack" | "causes"> {
  const { stack: _stack, causes: _causes, ...shown } = record as T & { stack?: unknown; causes?: unknown };
  return shown as Omit<T, "stack" | "causes">;
}

/** Returns a value of a workflow as JSON. `typed`: it has tags (`{"$t": "Date", "v": …}`) for what JSON has no word for. */
export function valueFields(value: unknown, what: string): { value: unknown; typed?: true } {
  const { json, isTyped } = encode(value ?? null, what, { dropsUndefined: true });
  return { value: json, ...(isTyped && { typed: true as const }) };
}
