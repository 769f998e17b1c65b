import { GlueError, TokenLimitError } from "./errors.ts";

/*
 * Errors of calls that were not made: something of ours held them back. Those of provider calls are in errors.ts.
 */

/** The provider fails, and the call was not made. `retryAfterMs` says when to ask again. */
export class CircuitOpenError extends GlueError {
  constructor(key: string, retryAfterMs: number) {
    super({
      code: "circuit_open",
      category: "provider",
      message: `${key} fails too often: its circuit breaker is open`,
      hint: "try again later; one call at a time tests whether the provider is back",
      retryAfterMs,
    });
  }
}

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

/** A tenant's calls, tokens or calls at a time are used up for now; no call was made. Its job waits, and the others go on. */
export class TenantWaitError extends GlueError {
  constructor(tenant: string) {
    super({
      code: "tenant_wait",
      category: "rate_limit",
      message: `tenant ${tenant} uses all that its limits allow`,
      hint: `gluellm tenants set ${tenant} raises them`,
    });
  }
}

/** The provider asked for a long pause, which one call per minute tests: this one is not it. */
export class PausedError extends GlueError {
  constructor(key: string, { until, reason }: { until: number; reason: string }, retryAfterMs: number) {
    super({
      code: "paused",
      category: "rate_limit",
      message: `${key} waits for its provider until ${new Date(until).toISOString()} (${reason})`,
      hint: `one call per minute tests it; gluellm queues resume ${key} lifts the pause`,
      retryAfterMs,
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

/** Calls under way hold what is left of a cost limit, or this worker has no price for the model; no call was made. */
export class CostWaitError extends GlueError {}

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
