import { z } from "zod";
import { keptAnswer, providerWords, type RejectedAnswer } from "./quoted-text.ts";

export const errorCategorySchema = z.enum([
  "input",
  "configuration",
  "authentication",
  "account",
  "rate_limit",
  "connection",
  "provider",
  "cancelled",
  "internal",
]);
/** The place of a fault, which decides exit codes and who has to act. */
export type ErrorCategory = z.infer<typeof errorCategorySchema>;

/** The weight of an error. `critical`: no call works until somebody acts; `error`: this one fails; `warning`: it passes. */
export type ErrorSeverity = "warning" | "error" | "critical";

const SEVERITIES: Readonly<Record<ErrorCategory, ErrorSeverity>> = {
  input: "error",
  configuration: "critical",
  authentication: "critical",
  account: "critical",
  rate_limit: "warning",
  connection: "warning",
  provider: "error",
  cancelled: "warning",
  internal: "error",
};

export const errorContextSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
/** The things that an error is about: `jobId`, `model`; never a prompt, an answer or a key. */
export type ErrorContext = z.infer<typeof errorContextSchema>;

export interface GlueErrorFields {
  /** Stable, machine-readable: `rate_limit`, `context_length_exceeded`, … */
  code: string;
  category: ErrorCategory;
  message: string;
  /** What the reader can do about it. */
  hint?: string;
  /** HTTP status of the provider's answer, when there was one. */
  status?: number;
  providerRequestId?: string;
  /** How long the provider asked us to wait, in milliseconds. */
  retryAfterMs?: number;
  /** Attempts that the job had used up when it failed. */
  attempts?: number;
  context?: ErrorContext;
}

const OPTIONAL_FIELDS = ["hint", "status", "providerRequestId", "retryAfterMs", "attempts"] as const;

/**
 * Base of all errors of this package. The message is our own text: it never holds a key, a prompt or a
 * provider's raw message, so it may be stored on jobs and logged.
 */
export class GlueError extends Error {
  /** The machine-readable name of the fault, which stays: `rate_limit`, `context_length_exceeded`, … */
  readonly code: string;
  readonly category: ErrorCategory;
  /** What the reader can do about it. */
  readonly hint: string | undefined;
  /** The HTTP status of the provider's answer, when there was one. */
  readonly status: number | undefined;
  /** The provider's id of the call, for its support. */
  readonly providerRequestId: string | undefined;
  /** How long the provider asked us to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** The attempts that the job had used up when it failed. */
  readonly attempts: number | undefined;
  /** What the error is about: `jobId`, `model`; never a prompt, an answer or a key. */
  readonly context: Readonly<ErrorContext>;

  constructor(fields: GlueErrorFields, options?: { cause?: unknown }) {
    super(fields.message, options);
    this.name = new.target.name;
    this.code = fields.code;
    this.category = fields.category;
    this.hint = fields.hint;
    this.status = fields.status;
    this.providerRequestId = fields.providerRequestId;
    this.retryAfterMs = fields.retryAfterMs;
    this.attempts = fields.attempts;
    this.context = fields.context ?? {};
    // Who prints an error sees what there is of it.
    for (const name of OPTIONAL_FIELDS)
      if (this[name] === undefined) Object.defineProperty(this, name, { enumerable: false });
  }

  /** The weight of the error, by its category. */
  get severity(): ErrorSeverity {
    return SEVERITIES[this.category];
  }

  /** Whether the same call may succeed later without anybody doing something about it. */
  get retryable(): boolean {
    return ["rate_limit", "connection"].includes(this.category) || this.retryAfterMs !== undefined;
  }
}

/** The command line or an input file is wrong: exit code 2. */
export class InputError extends GlueError {
  constructor(message: string, hint?: string, code = "invalid_input") {
    super({ code, category: "input", message, hint });
  }
}

/** A setting, key or server is missing or wrong: exit code 3. */
export class ConfigurationError extends GlueError {
  constructor(message: string, hint?: string, code = "configuration") {
    super({ code, category: "configuration", message, hint });
  }
}

/** The job was cancelled before it had an answer. */
export class JobCancelledError extends GlueError {
  constructor(fields: Partial<GlueErrorFields> = {}, options?: { cause?: unknown }) {
    super({ code: "cancelled", category: "cancelled", message: "the job was cancelled", ...fields }, options);
  }
}

const LOST = {
  job: (id: string) => ({
    message: `job ${id} is over, or no longer in Redis, and left no result`,
    hint: "results are kept for 7 days; Redis was emptied, or somebody removed the job: enqueue it again",
  }),
  run: (id: string) => ({
    message: `no run ${id}`,
    hint: "check the id; runs are kept for 30 days after their end (GLUELLM_RETENTION_RUNS)",
  }),
};

/** Redis has neither the job, or the run, nor its result. */
export class JobLostError extends GlueError {
  constructor(jobId: string, what: "job" | "run" = "job") {
    super({
      code: "job_lost",
      category: "internal",
      ...LOST[what](jobId),
      context: { jobId },
    });
  }
}

/** A workflow's code does not ask for what its run has recorded: it was changed under a running workflow. */
export class NonDeterminismError extends GlueError {
  constructor(fields: Partial<GlueErrorFields>) {
    super({ code: "non_determinism", category: "internal", message: "the code has changed", ...fields });
  }
}

/**
 * A workflow's own code failed, in a step or between steps: `name`, `code` (when it is a text), `message`, `stack` and the
 * chain of `cause` are those of what it threw.
 */
export class WorkflowError extends GlueError {
  constructor(fields: Partial<GlueErrorFields>, options?: { cause?: unknown }) {
    super(
      { code: "workflow_failed", category: "internal", message: "the workflow failed", ...fields },
      options,
    );
  }
}

/** Thrown by a step's work that must not be tried again, whatever its `retry` says. */
export class NonRetryableError extends WorkflowError {
  /** @param options `cause`: the error behind it; `code`: default `workflow_failed` */
  constructor(message: string, { code, cause }: { code?: string; cause?: unknown } = {}) {
    super({ message, ...(code !== undefined && { code }) }, { cause });
  }
}

/** What a provider call's error has beside an error's own fields. */
interface ProviderFields {
  /** The provider's own words; control characters are taken out, and what is beyond 2,000 characters. */
  providerMessage?: string | undefined;
}
type LLMErrorFields = Omit<GlueErrorFields, "category" | "code"> & ProviderFields & { code?: string };

/** A provider call failed. Its class decides what the worker does next (see `error-policy.ts`). */
export class LLMError extends GlueError {
  /** Private: an error's own fields reach logs, and a provider may quote the prompt. */
  readonly #providerMessage: string | undefined;

  constructor(
    { providerMessage, ...fields }: GlueErrorFields & ProviderFields,
    options?: { cause?: unknown },
  ) {
    super(fields, options);
    this.#providerMessage = providerMessage && providerWords(providerMessage);
  }

  /** What the provider said, at most 2,000 characters. It is kept in the result record alone: no log, job or dashboard shows it. */
  get providerMessage(): string | undefined {
    return this.#providerMessage;
  }
}

/** 429: the provider asks us to slow down. */
export class RateLimitError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "rate_limit", category: "rate_limit", ...fields }, options);
  }
}

/** 529: the provider is overloaded and asks everyone to slow down. */
export class OverloadedError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "overloaded", category: "rate_limit", ...fields }, options);
  }
}

/** 5xx, network fault, timeout, or an answer that broke off: worth another attempt. */
export class APIConnectionError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "connection", category: "connection", ...fields }, options);
  }
}

/** The prompt does not fit the model's context, or the request does not fit the budget. */
export class TokenLimitError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "context_length_exceeded", category: "provider", ...fields }, options);
  }
}

/** 400, 413, 422: the provider refuses this request as it stands. */
export class InvalidRequestError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "invalid_request", category: "provider", ...fields }, options);
  }
}

/** 401, 403: no call with this key will work. */
export class AuthenticationError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "authentication", category: "authentication", ...fields }, options);
  }
}

/** Quota used up, billing stopped, or a model this account does not have: no further call will work. */
export class AccountError extends LLMError {
  constructor(fields: LLMErrorFields, options?: { cause?: unknown }) {
    super({ code: "insufficient_quota", category: "account", ...fields }, options);
  }
}

/** No answer fitted the schema, the rounds of repair included. */
export class StructuredOutputError extends LLMError {
  /** Private: an error's own fields reach logs, and this one quotes the answer. */
  readonly #rejected: RejectedAnswer | undefined;

  constructor(fields: LLMErrorFields & { rejected?: RejectedAnswer }, options?: { cause?: unknown }) {
    super({ code: "structured_output", category: "provider", ...fields }, options);
    this.#rejected = fields.rejected && keptAnswer(fields.rejected);
  }

  /** The answer, kept in the job's result record alone: no log, job or dashboard shows it. */
  get rejected(): RejectedAnswer | undefined {
    return this.#rejected;
  }
}

/** A guardrail blocked what was asked or answered. `context` has its name and its stage. */
export class GuardrailError extends GlueError {
  constructor(fields: Partial<GlueErrorFields> = {}, options?: { cause?: unknown }) {
    super(
      { code: "guardrail_blocked", category: "input", message: "a guardrail blocked the call", ...fields },
      options,
    );
  }

  /** The guardrail's name. */
  get guardrail(): string {
    return String(this.context.guardrail ?? "");
  }

  /** The stage at which it blocked: `pre`, `parallel` or `post`. */
  get stage(): string {
    return String(this.context.stage ?? "");
  }
}

/** A cost limit: the next call could have passed it. `context` has `spentUsd` and `maxCostUsd`. */
export class CostLimitError extends GlueError {
  constructor(fields: LLMErrorFields) {
    super({ code: "cost_limit", category: "account", ...fields });
  }
}
