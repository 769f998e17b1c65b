import { z } from "zod";

/** Where a fault belongs; decides exit codes and who has to act. */
const errorCategorySchema = z.enum([
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
export type ErrorCategory = z.infer<typeof errorCategorySchema>;

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
}

/**
 * Base of all errors of this package. The message is our own text: it never holds a key, a prompt or a
 * provider's raw message, so it may be stored on jobs and logged.
 */
export class GlueError extends Error {
  readonly code: string;
  readonly category: ErrorCategory;
  readonly hint: string | undefined;
  readonly status: number | undefined;
  readonly providerRequestId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(fields: GlueErrorFields, options?: { cause?: unknown }) {
    super(fields.message, options);
    this.name = new.target.name;
    this.code = fields.code;
    this.category = fields.category;
    this.hint = fields.hint;
    this.status = fields.status;
    this.providerRequestId = fields.providerRequestId;
    this.retryAfterMs = fields.retryAfterMs;
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

type LLMErrorFields = Omit<GlueErrorFields, "category" | "code"> & { code?: string };

/** A provider call failed. The subclass decides what the worker does next (see `workers/verdict.ts`). */
export class LLMError extends GlueError {}

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

/** What is stored of an error, on jobs and in result records. */
export const errorRecordSchema = z.object({
  code: z.string(),
  category: errorCategorySchema,
  message: z.string(),
  hint: z.string().optional(),
  status: z.number().optional(),
  providerRequestId: z.string().optional(),
});
export type ErrorRecord = z.infer<typeof errorRecordSchema>;

/** The storable form of any error; an unknown error keeps its class name only, since its text may quote data. */
export function toErrorRecord(error: unknown): ErrorRecord {
  if (error instanceof GlueError) {
    const { code, category, message, hint, status, providerRequestId } = error;
    return { code, category, message, hint, status, providerRequestId };
  }
  const name = error instanceof Error ? error.name : typeof error;
  return {
    code: "internal",
    category: "internal",
    message: `unexpected ${name} in the worker`,
    hint: "see the worker's log at this time",
  };
}
