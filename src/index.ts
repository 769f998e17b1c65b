/** The public API, beside the command `gluellm`. */

export { CompletionHandle, type WaitOptions } from "./client/completion-handle.ts";
export type {
  ChatMessage,
  ChatParameters,
  CompleteOptions,
  CompletionMessage,
  ContentPart,
  EnqueueOptions,
} from "./client/completion-options.ts";
export type { CompletionResult } from "./client/completion-result.ts";
export { GlueLLM, type GlueLLMOptions } from "./client/glue-llm.ts";
export { complete, enqueue } from "./client/shared-client.ts";
export { WorkflowHandle } from "./client/workflow-handle.ts";
export { type StartOptions, Workflows } from "./client/workflows.ts";
export type { JobStatus } from "./producers/job-status.ts";
export type { ChatCompletion } from "./shared/chat.ts";
export {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  ConfigurationError,
  type ErrorCategory,
  type ErrorContext,
  type ErrorSeverity,
  GlueError,
  InputError,
  InvalidRequestError,
  JobCancelledError,
  JobLostError,
  LLMError,
  NonDeterminismError,
  OverloadedError,
  RateLimitError,
  TokenLimitError,
  WorkflowError,
} from "./shared/errors.ts";
export type { Budget } from "./shared/limits-setting.ts";
export type { Logger } from "./shared/logger.ts";
export type { Settings } from "./shared/settings.ts";
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
export type {
  AgentLike,
  BranchFunctions,
  BranchResults,
  ChildOptions,
  LocalOptions,
  RetryPolicy,
  StepOptions,
  WaitForOptions,
  WorkflowContext,
} from "./workflows/context.ts";
export { type FlowOptions, flow, type TaskOptions, task } from "./workflows/flow.ts";
export type { ForkOptions } from "./workflows/fork.ts";
export type { RunStatus, RunStep } from "./workflows/run-status.ts";
export {
  type AnyWorkflow,
  defineWorkflow,
  type Workflow,
  type WorkflowOptions,
} from "./workflows/workflow.ts";
