/** The public API, beside the command `gluellm`. */

export {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  ConfigurationError,
  type ErrorCategory,
  GlueError,
  InputError,
  InvalidRequestError,
  LLMError,
  OverloadedError,
  RateLimitError,
  TokenLimitError,
} from "./shared/errors.ts";
export type { Budget } from "./shared/limits-setting.ts";
export {
  type Admission,
  type BreakerTransition,
  CircuitBreaker,
  type CircuitBreakerOptions,
  type CircuitBreakerSettings,
  CircuitOpenError,
} from "./workers/circuit-breaker.ts";
export type { TokenCounts } from "./workers/rate-limiter/cost.ts";
export {
  BudgetExceededError,
  BudgetWaitError,
  RateLimiterClosedError,
} from "./workers/rate-limiter/errors.ts";
export {
  type AcquireOptions,
  RateLimiter,
  type RateLimiterOptions,
  type Reservation,
} from "./workers/rate-limiter.ts";
export { callLlmWithRetry, type LlmCallOptions, type RetryOptions, retryOnFailure } from "./workers/retry.ts";
