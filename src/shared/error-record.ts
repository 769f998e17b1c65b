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
  GuardrailError,
  InvalidRequestError,
  JobCancelledError,
  LLMError,
  NonDeterminismError,
  OverloadedError,
  RateLimitError,
  StructuredOutputError,
  TokenLimitError,
  WorkflowError,
} from "./errors.ts";
import type { RejectedAnswer } from "./quoted-text.ts";

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
  ["guardrail", GuardrailError],
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
  /** Of a workflow's own error, what its code threw: the class's name, where, and the errors behind it. */
  name: z.string().optional(),
  stack: z.string().optional(),
  causes: z
    .array(
      z.object({
        name: z.string(),
        message: z.string(),
        code: z.string().optional(),
        stack: z.string().optional(),
      }),
    )
    .optional(),
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
    if (error instanceof WorkflowError) {
      return { type, code, category, message, hint, context, ...originOf(error) };
    }
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

const MAX_STACK_CHARS = 4000;
const MAX_MESSAGE_CHARS = 1000;
const MAX_CAUSES = 8;

/** Text of a workflow's code is kept, since it is the code's author who reads it; no other error's is. */
function originOf(error: WorkflowError): Pick<ErrorRecord, "name" | "stack" | "causes"> {
  const causes: NonNullable<ErrorRecord["causes"]> = [];
  for (let cause = error.cause; cause instanceof Error && causes.length < MAX_CAUSES; cause = cause.cause) {
    const { name, message, code, stack } = cause as Error & { code?: unknown };
    causes.push({
      name,
      message: message.slice(0, MAX_MESSAGE_CHARS),
      ...(typeof code === "string" && { code }),
      stack: stack?.slice(0, MAX_STACK_CHARS),
    });
  }
  return {
    ...(error.name !== "WorkflowError" && { name: error.name }),
    stack: error.stack?.slice(0, MAX_STACK_CHARS),
    ...(causes.length > 0 && { causes }),
  };
}

/** Returns the errors behind a workflow's own, the first one with the others behind it. */
function causeOf(causes: ErrorRecord["causes"] = []): Error | undefined {
  return causes.reduceRight<Error | undefined>((behind, { name, message, code, stack }) => {
    const error = new Error(message, behind && { cause: behind });
    error.name = name;
    if (stack !== undefined) error.stack = stack;
    return code === undefined ? error : Object.assign(error, { code });
  }, undefined);
}

/**
 * The error that was stored, of its class again. A class that this version does not know becomes a GlueError.
 * `rejected` and `providerMessage` are no part of an error record; they come from beside it.
 */
export function fromErrorRecord(
  { type, name, stack, causes, ...fields }: ErrorRecord & { attempts?: number } & PrivateParts,
  context: ErrorContext = {},
): GlueError {
  const stored = STORED_CLASSES.find(([known]) => known === type)?.[1] ?? GlueError;
  const error = new stored({ ...fields, context: { ...fields.context, ...context } });
  if (!(error instanceof WorkflowError)) return error;
  const cause = causeOf(causes);
  if (cause) Object.defineProperty(error, "cause", { value: cause, configurable: true, writable: true });
  if (name !== undefined) error.name = name;
  if (stack !== undefined) error.stack = stack;
  return error;
}
