/**
 * The public API, beside the command `gluellm`.
 *
 * @module gluellm
 */
import "./shared/check-node.ts";

export type { BatchOptions, BatchProgress, BatchReport, BatchRun } from "./batch/batch-run.ts";
export type { BatchQuote, LaneQuote } from "./batch/quote/quote.ts";
export type { QuoteOptions } from "./batch/quote/quote-batch.ts";
export type {
  ChatMessage,
  ChatParameters,
  CompleteOptions,
  CompletionMessage,
  EnqueueOptions,
} from "./calls/completion-options.ts";
export type { CompletionEvent, CompletionResult, DeepPartial, ToolCall } from "./calls/completion-result.ts";
export type {
  AudioPart,
  ContentPart,
  FilePart,
  ImagePart,
  OtherPart,
  TextPart,
} from "./calls/content-part.ts";
export { type Message, type MessageToolCall, Role } from "./calls/message.ts";
export type { OutputOf, OutputSchema } from "./calls/output-schema.ts";
export { RequestConfig } from "./calls/request-config.ts";
export type { TrimOption } from "./calls/steps-options.ts";
export { Batches, BatchHandle, type DeadlineOptions } from "./client/batches.ts";
export type { BulkOptions, BulkReport, BulkSignalOptions } from "./client/bulk-change.ts";
export type { GlueLLMOptions } from "./client/client-options.ts";
export { CompletionHandle } from "./client/completion-handle.ts";
export { Conversation, type ConversationOptions, type ConversationUsage } from "./client/conversation.ts";
export { AgentExecutor, type Completer, type Executor, SimpleExecutor } from "./client/executors.ts";
export { GlueLLM } from "./client/glue-llm.ts";
export type { RescoreOptions, RolloutOptions, RolloutOutputOptions } from "./client/rollout-options.ts";
export type { RunSelection } from "./client/run-selection.ts";
export type { ScheduledBatch } from "./client/scheduled-batch.ts";
export type { Schedule, ScheduledCompletion, ScheduleOptions, Schedules } from "./client/schedules.ts";
export { complete, enqueue, stream, structuredComplete } from "./client/shared-client.ts";
export type { WaitOptions } from "./client/wait.ts";
export { WorkflowHandle } from "./client/workflow-handle.ts";
export {
  type ListOptions,
  type SignalWithStartOptions,
  type StartOptions,
  type WorkflowList,
  Workflows,
} from "./client/workflows.ts";
export type { BreakerTransition } from "./limits/breaker-channel.ts";
export type { CircuitBreakerSettings } from "./limits/breaker-settings.ts";
export {
  type Admission,
  CircuitBreaker,
  type CircuitBreakerOptions,
} from "./limits/circuit-breaker.ts";
export {
  type AcquireOptions,
  RateLimiter,
  type RateLimiterOptions,
  type Reservation,
} from "./limits/rate-limiter.ts";
export { type McpProtocol, type McpToolsOptions, mcpTools } from "./mcp/mcp-tools.ts";
export { chainOfDensity } from "./patterns/chain-of-density.ts";
export { consensus } from "./patterns/consensus.ts";
export { constitutional } from "./patterns/constitutional.ts";
export { debate } from "./patterns/debate.ts";
export { hierarchical } from "./patterns/hierarchical.ts";
export { iterativeRefinement } from "./patterns/iterative-refinement.ts";
export { mapReduce } from "./patterns/map-reduce.ts";
export { mixtureOfExperts } from "./patterns/mixture-of-experts.ts";
export type { Pattern, PatternResult } from "./patterns/pattern.ts";
export { pipeline } from "./patterns/pipeline.ts";
export { rag } from "./patterns/rag.ts";
export { react } from "./patterns/react.ts";
export { reflection } from "./patterns/reflection.ts";
export { roundRobin } from "./patterns/round-robin.ts";
export { socratic } from "./patterns/socratic.ts";
export { treeOfThoughts } from "./patterns/tree-of-thoughts.ts";
export type { ListedApproval } from "./producers/approvals.ts";
export type {
  ErrorDimension,
  ErrorFigures,
  ErrorGroup,
  ErrorQuery,
  ErrorReport,
} from "./producers/error-report.ts";
export type { JobStatus } from "./producers/job-status.ts";
export type { RolloutProgress } from "./rollouts/collect.ts";
export type { ExportFormat } from "./rollouts/exports.ts";
export type { StepSums } from "./rollouts/scored-step.ts";
export type { RolloutReport } from "./rollouts/write-results.ts";
export type { ScheduleStatus, ScheduleTick } from "./schedules/schedule-status.ts";
export {
  Agent,
  type AgentOptions,
  type AgentTool,
  type AgentToolOptions,
  GenericAgent,
  type Handoff,
} from "./shared/agent.ts";
export type { Decision, PendingApproval } from "./shared/approval.ts";
export type { ChatCompletion, FinishReason } from "./shared/chat.ts";
export { getSettings, reloadSettings, settings, settings as config } from "./shared/current-settings.ts";
export type { ErrorPattern } from "./shared/error-patterns.ts";
export {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  ConfigurationError,
  CostLimitError,
  type ErrorCategory,
  type ErrorContext,
  type ErrorSeverity,
  GlueError,
  GuardrailError,
  InputError,
  InvalidRequestError,
  JobCancelledError,
  JobLostError,
  LLMError,
  NonDeterminismError,
  NonRetryableError,
  OverloadedError,
  RateLimitError,
  StructuredOutputError,
  TokenLimitError,
  WorkflowError,
} from "./shared/errors.ts";
export {
  defineGuardrail,
  type Guardrail,
  type GuardrailOptions,
  type GuardrailQuestion,
  type GuardrailReport,
  type GuardrailStage,
  type GuardrailSubject,
  type GuardrailVerdict,
} from "./shared/guardrail.ts";
export {
  type BuiltInOptions,
  injectionGuardrail,
  lengthGuardrail,
  piiGuardrail,
  schemaGuardrail,
  secretsGuardrail,
  type ToolRule,
  toolRuleGuardrail,
  topicGuardrail,
} from "./shared/guardrails/built-in.ts";
export type { JsonSchema } from "./shared/json-schema.ts";
export type { Budget } from "./shared/limits-setting.ts";
export { type LogFields, withLogContext } from "./shared/log-context.ts";
export type { Logger } from "./shared/logger.ts";
export type { OutputMode } from "./shared/output-spec.ts";
export type { RejectedAnswer } from "./shared/quoted-text.ts";
export type { Fallback, ToolExecution } from "./shared/records.ts";
export type { RedactionSettings } from "./shared/redact.ts";
export { ResourcePool } from "./shared/resource-pool.ts";
export type { Lease, ResourcePoolMetrics, ResourcePoolOptions } from "./shared/resource-pool-options.ts";
export {
  defineEnvironment,
  defineJudge,
  defineReward,
  type EnvironmentReply,
  type Reward,
  type RolloutSample,
  type Score,
} from "./shared/reward.ts";
export { deserialize, serialize } from "./shared/serialize.ts";
export type { Settings } from "./shared/settings.ts";
export {
  defineEvaluator,
  defineRetriever,
  type RetrievedChunk,
  type StepFunction,
} from "./shared/step-function.ts";
export {
  defineSteps,
  type PreparedStep,
  type Step,
  type StepFunctions,
  type Steps,
  type StepsSoFar,
  type ToolChoice,
} from "./shared/steps.ts";
export { type PromptTool, SystemPrompt, type SystemPromptOptions } from "./shared/system-prompt.ts";
export type { TokenCounts } from "./shared/token-counts.ts";
export {
  defineTool,
  type Tool,
  type ToolContext,
  type ToolOptions,
  type ToolSet,
} from "./shared/tool.ts";
export { type ToolPart, toolError, toolFile, toolImage } from "./shared/tool-result.ts";
export {
  BudgetExceededError,
  BudgetWaitError,
  CircuitOpenError,
  RateLimiterClosedError,
  TenantWaitError,
} from "./shared/unsent-errors.ts";
export type { ProviderOptions } from "./shared/wire-options.ts";
export type { ListedRun } from "./store/run-list.ts";
export type { SemanticExample, SemanticReport } from "./store/semantic-report.ts";
export { configureTracing, type Tracing, type TracingOptions } from "./telemetry/configure-tracing.ts";
export { type ErrorListener, type FailureReport, onError } from "./telemetry/error-reports.ts";
export {
  type LogFunctionOptions,
  type LogOptions,
  logFunctionCall,
  logOperation,
  logTiming,
} from "./telemetry/log-helpers.ts";
export { getLogger, type Logging, type LoggingOptions, setupLogging } from "./telemetry/logging.ts";
export { type MemoryFigures, type MemoryOptions, memoryContext } from "./telemetry/memory-context.ts";
export type { MetricValues } from "./telemetry/metrics.ts";
export { getMetrics } from "./telemetry/process-metrics.ts";
export { type TracedCall, traceLlmCall } from "./telemetry/trace-llm-call.ts";
export { setSpanAttributes } from "./telemetry/tracing.ts";
export {
  cacheFunctionResult,
  cacheFunctionResult as cacheLlmResponse,
  type FunctionCacheOptions,
} from "./toolkit/cache-function-result.ts";
export { callLlmWithRetry, type LlmCallOptions, type RetryOptions, retryOnFailure } from "./toolkit/retry.ts";
export { typed } from "./toolkit/typed.ts";
export {
  type Activity,
  type ActivityContext,
  type ActivityOptions,
  type AnyActivity,
  defineActivity,
} from "./workflows/activity.ts";
export type {
  ActivityCallOptions,
  BranchFunctions,
  BranchResults,
  ChildOptions,
  EmbedOptions,
  LocalOptions,
  StepOptions,
  WaitForOptions,
  Workflow,
  WorkflowContext,
  WorkflowOptions,
} from "./workflows/context.ts";
export { type FlowOptions, flow, type TaskOptions, task } from "./workflows/flow.ts";
export type { ForkOptions } from "./workflows/fork.ts";
export type { RetryPolicy } from "./workflows/retry-policy.ts";
export type { RunStatus, RunStep } from "./workflows/run-status.ts";
export type { RunSignal } from "./workflows/signal-schemas.ts";
export { type AnyWorkflow, defineWorkflow } from "./workflows/workflow.ts";
export type { LimitKey, WorkflowLimits } from "./workflows/workflow-limits.ts";
export type { ActivityWorkers, WorkflowVersion } from "./workflows/workflow-runs.ts";
