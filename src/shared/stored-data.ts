import { z } from "zod";
import { GlueError } from "./errors.ts";

/**
 * Returns what `read` makes of data that Redis keeps.
 * @param what is read, as in "the result record of job 1"
 * @throws GlueError `corrupt_data` when it is damaged; what else `read` throws
 */
export function readStored<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw storedFault(what, error);
  }
}

/** Returns the error `corrupt_data` when this one says that stored data is damaged or of another type; else the error itself. */
export function storedFault(what: string, error: unknown): unknown {
  const isDamaged = error instanceof SyntaxError || error instanceof z.ZodError || isWrongType(error);
  if (!isDamaged) return error;
  // The fault itself may quote what is stored.
  return new GlueError({
    code: "corrupt_data",
    category: "internal",
    message: `${what} cannot be read: its data in Redis is damaged`,
    hint: "look at what else writes into this Redis; see `gluellm queues repair`",
  });
}

/** Returns whether Redis answered that a key holds another type of data. */
export function isWrongType(error: unknown): boolean {
  return error instanceof Error && /\bWRONGTYPE\b/.test(error.message);
}

/** Returns whether what Redis has of something is damaged, or gone: no further attempt finds it. */
export function isStoredLoss(error: unknown): error is GlueError {
  return error instanceof GlueError && (error.code === "corrupt_data" || error.code === "blob_lost");
}
