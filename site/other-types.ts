/**
 * Types that signatures of the package name. They are not exported: an editor shows them, and a program gets them from
 * the signature, such as `Awaited<ReturnType<BatchHandle["status"]>>`.
 *
 * @module other types
 */
export type { OutputFormat } from "../src/batch/answer-forms.ts";
export type { RowCounts } from "../src/batch/index-row.ts";
export type { InputFormat } from "../src/batch/input-form.ts";
export type { LaneOptions, OnUnknown } from "../src/batch/lanes/lane-plan.ts";
export type { OutputFiles } from "../src/batch/output-paths.ts";
export type { Range } from "../src/batch/quote/draws.ts";
export type { QuoteCheck } from "../src/batch/quote/quote-file.ts";
export type { ModelSample } from "../src/batch/quote/sample.ts";
export type { RowFailure } from "../src/batch/tally.ts";
export type { ModelNames } from "../src/calls/model-chain.ts";
export type { DeadLetters } from "../src/client/dead-letters.ts";
export type {
  DropReport,
  LetterGroup,
  LetterSelection,
  ReplayOptions,
  ReplayReport,
} from "../src/client/letter-options.ts";
export type { AdmittedCall } from "../src/limits/circuit-breaker.ts";
export type { PatternInput } from "../src/patterns/pattern.ts";
export type { DeadLetter } from "../src/producers/dead-letters.ts";
export type { JobRef } from "../src/producers/job-lookup.ts";
export type { AuditSettings } from "../src/shared/audit-setting.ts";
export type { Message as ChatMessageBody } from "../src/shared/chat.ts";
export type { Deployments } from "../src/shared/deployments.ts";
export type { EncryptionSettings, RingKey } from "../src/shared/encryption-setting.ts";
export type { GlueErrorFields } from "../src/shared/errors.ts";
export type { S3Place } from "../src/shared/file-store-setting.ts";
export type { HistorySettings, HistoryTable } from "../src/shared/history-setting.ts";
export type { Limits } from "../src/shared/limits-setting.ts";
export type { LogFileSettings } from "../src/shared/log-file-setting.ts";
export type { AlertSettings, MetricsSettings } from "../src/shared/metrics-settings.ts";
export type { ModelRef } from "../src/shared/model-name.ts";
export type { Prices } from "../src/shared/prices-setting.ts";
export type { ProfileName } from "../src/shared/profiles.ts";
export type { Dialect, OpenAIApi, ProviderEntry } from "../src/shared/providers.ts";
export type { Retention } from "../src/shared/retention.ts";
export type { Secret } from "../src/shared/secret.ts";
export type { SemanticSettings } from "../src/shared/semantic-setting.ts";
export type { Veto } from "../src/shared/semantic-veto.ts";
export type { SsoRules } from "../src/shared/sso-setting.ts";
export type { StepFunctionKind } from "../src/shared/step-function.ts";
export type { StreamEvent, StreamPiece } from "../src/shared/stream-events.ts";
export type {
  ApprovalRule,
  ListedTool,
  OpenToolSet,
  ParsedArguments,
  ToolSetHost,
} from "../src/shared/tool.ts";
export type { TracingSettings } from "../src/shared/tracing-setting.ts";
export type { AllowedRanges } from "../src/shared/webhook-ranges.ts";
export type { AnswerScript, ScriptedAnswer } from "../src/simulator/directive.ts";
export type { BatchView } from "../src/store/batch.ts";
export type { StepKind } from "../src/store/run-journal.ts";
export type { SomeAttributes } from "../src/telemetry/tracing.ts";
export type { ScriptedModels } from "../src/testing/model-scripts.ts";
