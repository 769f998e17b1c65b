import { GlueError } from "../shared/errors.ts";

/** An equal request is being answered; no call was made. The job waits, and uses up no attempt. */
export class CacheWaitError extends GlueError {
  constructor(waitMs: number) {
    super({
      code: "cache_wait",
      category: "internal",
      message: "an equal request is being answered; its answer will do for this one too",
      retryAfterMs: waitMs,
    });
  }
}
