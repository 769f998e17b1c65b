import { GlueError, TokenLimitError } from "../../shared/errors.ts";

/** One request needs more tokens than its budget allows in a minute: it can never be sent. */
export class BudgetExceededError extends TokenLimitError {
  constructor(key: string, tokens: number, perMinute: number, kind = "tokens") {
    super({
      code: "budget_exceeded",
      message: `a request of about ${tokens} ${kind} can never be sent: the limit of ${key} is ${perMinute} ${kind} per minute`,
      hint: "shorten the prompt, lower max_tokens, or raise the model's limit in GLUELLM_LIMITS",
    });
  }
}

/** The requests ahead, or a pause, take longer than the request was willing to wait: come back later. */
export class BudgetWaitError extends GlueError {
  readonly waitMs: number;

  constructor(key: string, waitMs: number) {
    const seconds = Math.ceil(waitMs / 1000);
    super({
      code: "budget_wait",
      category: "rate_limit",
      message: `the budget of ${key} is taken for about ${seconds} s`,
      retryAfterMs: waitMs,
    });
    this.waitMs = waitMs;
  }
}

/** The limiter was closed while the request waited: nothing was sent. */
export class RateLimiterClosedError extends GlueError {
  constructor() {
    super({
      code: "rate_limiter_closed",
      category: "cancelled",
      message: "the rate limiter was closed before the request could be sent",
    });
  }
}
