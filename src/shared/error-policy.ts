import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  ConfigurationError,
  CostLimitError,
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
} from "./errors.ts";
import {
  BudgetExceededError,
  BudgetWaitError,
  CacheWaitError,
  CircuitOpenError,
  CostWaitError,
  PausedError,
  RateLimiterClosedError,
  TenantWaitError,
} from "./unsent-errors.ts";

/** What follows from an error. Whoever decides something on an error asks this table, and none of the classes. */
export interface ErrorPolicy {
  /**
   * What becomes of the attempt. `retry` uses one up, `snooze` does not. `stop`: no call can succeed until somebody acts,
   * so that a batch stops. `hold`: so it looks, but the request may be at fault too, and a batch's row waits for
   * evidence. After both a job that is no row of a batch fails.
   */
  verdict: "retry" | "snooze" | "fail" | "stop" | "hold";
  /** `second`: the job fails when a second attempt ends so; `last`: when it has no attempt left. */
  fails: "second" | "last";
  /** Who waits along with the job: every queue of its budget; its queue, always or when a time is named; nobody. */
  scope: "budget" | "queue" | "queueIfTimed" | "job";
  /**
   * How long the wait is. `asked`: as the provider asks, else a backoff that grows. `level`: as it asks, else the first
   * backoff, since a whole budget must not wait longer for the put-backs of one job. `guess`: our own estimate, which
   * may fail no job. `breaker`: until the breaker lets a call through; every call asks it, whether its queue waits or not.
   */
  wait: "asked" | "level" | "guess" | "breaker";
  /**
   * When a job of several models goes on with the next one. `whenStuck`: instead of failing, and of a long wait.
   * `atOnce`: instead of failing, and of any wait. `never`: no model could answer it.
   */
  fallsBack: "whenStuck" | "atOnce" | "never";
  /** What it says of the provider, to the circuit breaker and the concurrency; a refusal says that it works. */
  provider: "down" | "limited" | "works" | "unknown";
  /** What the failed call is charged to budgets and cost limits: all that was reserved, since it may be paid; nothing. */
  charged: "reserved" | "nothing";
  /** What it adds to the use of the model. `nothing`: no call was made, or the calls were counted before. */
  counts: "request" | "rateLimited" | "nothing";
  /** Whether equal requests that wait for this one would fail too: by the same fault, perhaps, or not for that reason. */
  followers: "lasting" | "passing" | "none";
  /**
   * What must not be used again. `messages`: those of the request, in a conversation's later calls. `answers`: those
   * that the job has paid for, when an operator retries it.
   */
  spoils: "messages" | "answers" | "nothing";
}

type ErrorClass = abstract new (...args: never[]) => GlueError;

interface PolicyRow extends ErrorPolicy {
  of: readonly ErrorClass[];
  /** The row is for errors with this code alone. */
  code?: string;
  /** For people. */
  when: string;
}

/** A bug, or a fault of Redis. */
const UNKNOWN: ErrorPolicy = {
  verdict: "retry",
  fails: "last",
  scope: "job",
  wait: "asked",
  fallsBack: "whenStuck",
  provider: "unknown",
  charged: "reserved",
  counts: "request",
  followers: "none",
  spoils: "nothing",
};
/** The provider has answered, and says no. */
const REFUSED = { verdict: "fail", provider: "works", charged: "nothing", followers: "lasting" } as const;
/** No call was made. */
const UNSENT = { counts: "nothing", charged: "nothing" } as const;
/** No further attempt, and no other model, can mend it. */
const OVER = { ...UNSENT, verdict: "fail", fallsBack: "never" } as const;

type GivenRow = Partial<ErrorPolicy> & Pick<PolicyRow, "of" | "code" | "when">;

const ROWS: readonly GivenRow[] = [
  { of: [GlueError], code: "deadline_exceeded", when: "the job's deadline passed", ...OVER },
  { of: [GlueError], code: "conversation_lost", when: "Redis no longer has its conversation", ...OVER },
  { of: [GlueError], code: "corrupt_data", when: "what Redis has of it is damaged", ...OVER },
  { of: [InputError], code: "duplicate_tool", when: "two of its tools have one name", ...OVER },
  { of: [InputError], code: "too_many_tools", when: "it has more tools than providers take", ...OVER },
  {
    of: [GlueError],
    code: "tool_server_unavailable",
    when: "a server of its tools does not start, or does not tell its tools",
    ...UNSENT,
    fallsBack: "never",
  },
  {
    of: [GlueError],
    code: "approval_timeout",
    when: "nobody answered whether a tool may be called",
    ...OVER,
  },
  { of: [GuardrailError], when: "a guardrail blocked it", ...OVER, spoils: "messages" },
  { of: [JobCancelledError], when: "somebody cancelled the job", ...OVER },
  {
    of: [RateLimitError],
    code: "no_flex_room",
    when: "429, the tier flex has no room",
    ...REFUSED,
    verdict: "snooze",
    wait: "guess",
    fallsBack: "never",
    counts: "rateLimited",
    followers: "none",
  },
  {
    of: [RateLimitError],
    when: "429",
    verdict: "snooze",
    scope: "budget",
    wait: "level",
    provider: "limited",
    charged: "nothing",
    counts: "rateLimited",
  },
  {
    of: [OverloadedError],
    when: "529",
    verdict: "snooze",
    scope: "queueIfTimed",
    fallsBack: "atOnce",
    provider: "down",
    counts: "rateLimited",
  },
  {
    of: [APIConnectionError],
    code: "invalid_response",
    when: "an answer that cannot be used, and may be paid",
    fails: "second",
    fallsBack: "atOnce",
    followers: "passing",
  },
  {
    of: [APIConnectionError],
    when: "5xx, network, timeout",
    fallsBack: "atOnce",
    provider: "down",
    followers: "passing",
  },
  {
    of: [CircuitOpenError],
    when: "the breaker is open",
    ...UNSENT,
    verdict: "snooze",
    scope: "queue",
    wait: "breaker",
    fallsBack: "atOnce",
  },
  {
    of: [BudgetWaitError],
    when: "the wait queue of the budget takes longer than 5 s, or a pause does",
    ...UNSENT,
    verdict: "snooze",
    wait: "guess",
  },
  {
    of: [TenantWaitError],
    when: "its tenant's limits are used up for now",
    ...UNSENT,
    verdict: "snooze",
    fallsBack: "never",
  },
  {
    of: [PausedError],
    when: "the provider asked for a pause of more than 5 minutes",
    ...UNSENT,
    verdict: "snooze",
    scope: "queue",
    wait: "guess",
  },
  {
    of: [CostWaitError],
    when: "calls under way hold what is left of the cost limit, or this worker has no price",
    ...UNSENT,
    verdict: "snooze",
  },
  { of: [CacheWaitError], when: "an equal request is being answered", ...UNSENT, verdict: "snooze" },
  {
    of: [CostLimitError],
    when: "the call could pass a cost limit of its batch, job or conversation",
    ...UNSENT,
    verdict: "stop",
    fallsBack: "never",
  },
  {
    of: [BudgetExceededError],
    when: "the prompt is too long for the budget",
    ...UNSENT,
    verdict: "fail",
    followers: "lasting",
    spoils: "messages",
  },
  { of: [RateLimiterClosedError], when: "the process closes", ...UNSENT, fallsBack: "never" },
  { of: [TokenLimitError], when: "prompt too long for the model", ...REFUSED, spoils: "messages" },
  {
    of: [InvalidRequestError],
    code: "unsupported_parameter",
    when: "a parameter that this provider does not have",
    ...REFUSED,
    spoils: "messages",
  },
  {
    of: [InvalidRequestError],
    when: "400, 413, 422; a schema of the answer that is none",
    ...REFUSED,
    fallsBack: "never",
    spoils: "messages",
  },
  {
    of: [StructuredOutputError],
    when: "no answer fitted the schema, repairs included",
    ...REFUSED,
    fallsBack: "never",
    counts: "nothing",
    spoils: "answers",
  },
  { of: [AuthenticationError], when: "401, 403", ...REFUSED, verdict: "hold" },
  { of: [AccountError], when: "402, 404; quota, billing, redirects", ...REFUSED, verdict: "hold" },
  { of: [LLMError], when: "any other refusal", ...REFUSED, verdict: "retry" },
  {
    of: [
      GlueError,
      InputError,
      ConfigurationError,
      JobLostError,
      NonDeterminismError,
      WorkflowError,
      NonRetryableError,
    ],
    when: "a bug, or a fault of Redis",
  },
];

/** The first row that fits decides; a class without a row has that of its parent. */
export const ERROR_POLICIES: readonly PolicyRow[] = ROWS.map((row) => ({ ...UNKNOWN, ...row }));

/** The policy for anything that was thrown. */
export function policyOf(error: unknown): ErrorPolicy {
  const isOf = ({ of, code }: PolicyRow) =>
    of.some((type) => error instanceof type) && (!code || (error as GlueError).code === code);
  return ERROR_POLICIES.find(isOf) ?? UNKNOWN;
}
