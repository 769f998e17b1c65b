import { z } from "zod";
import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  CostLimitError,
  type ErrorContext,
  errorCategorySchema,
  errorContextSchema,
  GlueError,
  type GlueErrorFields,
  InvalidRequestError,
  JobCancelledError,
  LLMError,
  NonDeterminismError,
  OverloadedError,
  RateLimitError,
  type RejectedAnswer,
  StructuredOutputError,
  TokenLimitError,
  WorkflowError,
} from "./errors.ts";

/**
 * Under which name a class is stored: the names stay when a class is renamed. A subclass that is not here is stored
 * as its parent, with its own code.
 */
const STORED_CLASSES: readonly (readonly [string, new (fields: GlueErrorFields) => GlueError])[] = [
  ["rate_limit", RateLimitError],
  ["overloaded", OverloadedError],
  ["connection", APIConnectionError],
  ["token_limit", TokenLimitError],
  ["invalid_request", InvalidRequestError],
  ["authentication", AuthenticationError],
  ["account", AccountError],
  ["cancelled", JobCancelledError],
  ["structured_output", StructuredOutputError],
  ["cost_limit", CostLimitError],
  ["non_determinism", NonDeterminismError],
  ["workflow", WorkflowError],
];

/** What is stored of an error, on jobs and in result records. */
export const errorRecordSchema = z.object({
  /** A name of STORED_CLASSES; absent for GlueError itself. */
  type: z.string().optional(),
  code: z.string(),
  category: errorCategorySchema,
  message: z.string(),
  hint: z.string().optional(),
  status: z.number().optional(),
  providerRequestId: z.string().optional(),
  context: errorContextSchema.optional(),
});
export type ErrorRecord = z.infer<typeof errorRecordSchema>;

/** What only the result record holds of an error, and its catcher sees. */
export interface PrivateParts {
  /** The answer that did not fit, of a StructuredOutputError. */
  rejected?: RejectedAnswer | undefined;
  /** What the provider said, of an LLMError. */
  providerMessage?: string | undefined;
}

/** Returns the parts of an error that its record has no place for. */
export function privatePartsOf(error: unknown): PrivateParts {
  return {
    rejected: error instanceof StructuredOutputError ? error.rejected : undefined,
    providerMessage: error instanceof LLMError ? error.providerMessage : undefined,
  };
}

/** The storable form of any error; an unknown error keeps its class name only, since its text may quote data. */
export function toErrorRecord(error: unknown): ErrorRecord {
  if (error instanceof GlueError) {
    const { code, category, message, hint, status, providerRequestId } = error;
    const type = STORED_CLASSES.find(([, stored]) => error instanceof stored)?.[0];
    const context = Object.keys(error.context).length > 0 ? error.context : undefined;
    return { type, code, category, message, hint, status, providerRequestId, context };
  }
  const name = error instanceof Error ? error.name : typeof error;
  return {
    code: "internal",
    category: "internal",
    message: `unexpected ${name} in the worker`,
    hint: "see the worker's log at this time",
  };
}

/**
 * The error that was stored, of its class again. A class that this version does not know becomes a GlueError.
 * `rejected` and `providerMessage` are no part of an error record; they come from beside it.
 */
export function fromErrorRecord(
  { type, ...fields }: ErrorRecord & { attempts?: number } & PrivateParts,
  context: ErrorContext = {},
): GlueError {
  const stored = STORED_CLASSES.find(([name]) => name === type)?.[1] ?? GlueError;
  return new stored({ ...fields, context: { ...fields.context, ...context } });
}
