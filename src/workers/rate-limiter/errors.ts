import { GlueError, TokenLimitError } from "../../shared/errors.ts";

/** One request needs more tokens than its budget allows in a minute: it can never be sent. */
export class BudgetExceededError extends TokenLimitError {
  constructor(key: string, tokens: number, tpm: number) {
    super({
      code: "budget_exceeded",
      message: `a request of about ${tokens} tokens can never be sent: the limit of ${key} is ${tpm} tokens per minute`,
      hint: "shorten the prompt, lower max_tokens, or raise the model's tpm in GLUELLM_LIMITS",
    });
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
