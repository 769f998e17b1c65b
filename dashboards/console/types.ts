/* What the API answers, as far as pages show it. Times are epoch milliseconds unless they are texts. */

interface WorkError {
  code: string;
  category?: string;
  message: string;
  hint?: string;
}

interface Limit {
  perMinute: number;
  source: "configured" | "learned";
}

export interface Queue {
  queue: string;
  key: string;
  counts: { waiting: number; active: number; delayed: number; completed: number; failed: number };
  limits: { rpm?: Limit; tpm?: Limit; itpm?: Limit; otpm?: Limit };
  bucket?: string;
  breaker: {
    state: "closed" | "open" | "half_open";
    failures: number;
    calls: number;
    openedAt?: number;
    opened: number;
  };
  used: { requests: number; tokens: number; outputTokens: number; rateLimited: number };
  pausedMs: number;
  longPause?: { until: number; reason: string };
  /** Of the oldest job that waits and might run; null: none does. */
  oldestMs: number | null;
  pausedByOperator: boolean;
  workers: number;
  waitsFor: string[];
}

type RunState = "running" | "succeeded" | "failed" | "cancelled";

export interface ListedRun {
  id: string;
  workflow: string;
  version: number;
  state: RunState;
  tags: string[];
  startedAt: number;
  finishedAt?: number;
  tokens: number;
  costUsd: number;
  unpriced: number;
  error?: string;
  tenant: string;
}

export interface Run {
  id: string;
  workflow: string;
  version: number;
  state: RunState;
  waitsFor: string[];
  continued: number;
  tags: string[];
  createdAt: string;
  finishedAt?: string;
  deadlineAt: string;
  tokensUsed: { prompt: number; completion: number; total: number };
  costUsd: number;
  unpriced: number;
  /** Where its trace is looked at. */
  traceUrl?: string;
  error?: WorkError;
}

export interface Span {
  kind: "queue" | "budget" | "breaker" | "retry" | "model" | "tool" | "work" | "wait" | "child";
  from: number;
  to?: number;
}

export interface Step {
  index: number;
  step: string;
  kind: "completion" | "activity" | "child" | "local" | "sleep" | "signal";
  state: RunState;
  subject?: string;
  job?: string;
  startedAt?: string;
  finishedAt?: string;
  tokensUsed: { prompt: number; completion: number; total: number };
  costUsd: number | null;
  error?: WorkError;
  reused?: "fork" | "cache";
  attempts?: number;
  spans: Span[];
}

/** A signal that a run takes; without a schema it brings anything. */
export interface RunSignal {
  name: string;
  isWaiting: boolean;
  schema?: Schema;
}

export interface Timeline {
  data: Step[];
  total: number;
  failed: number[];
}

export interface ListedJob {
  id: string;
  queue: string;
  key: string;
  state: string;
  preview?: string;
  waitsFor?: string;
  reason?: string;
  batch?: string;
  customId?: string;
  conversation?: string;
  run?: string;
  step?: string;
  addedAt: number;
  startedAt?: number;
  endedAt?: number;
  attempts: number;
}

export interface JobLife {
  id: string;
  state: string;
  waitsFor: string[];
  queue?: string;
  key?: string;
  addedAt?: number;
  startedAt?: number;
  endedAt?: number;
  deadlineAt?: number;
  attempts: { at: number; attempt: number; code: string; message: string; againMs: number }[];
  log: string[];
  traceUrl?: string;
  spans: Span[];
  batch?: { id?: string; line?: number; customId?: string };
  conversation?: { id?: string; position?: number };
  workflow?: { runId?: string; step?: string };
  agent?: string;
  tools: string[];
  fallbacks: string[];
  outcome?: {
    status: string;
    model: string;
    tokens: { prompt: number; completion: number; total: number; cached: number };
    costUsd: number | null;
    attempts: number;
    calls?: number;
    turns?: number;
    latencyMs: number;
    isFromCache: boolean;
    requestId?: string;
    error?: WorkError;
    fallbacks?: { model: string; code: string; message: string }[];
    tools: {
      name: string;
      turn: number;
      durationMs: number;
      error?: string;
      content?: { arguments?: unknown; result?: unknown };
    }[];
  };
  content?: { request?: unknown; input?: unknown; answer?: unknown; output?: unknown };
}

export interface Page<T> {
  data: T[];
  cursor?: string | null;
}

export interface Batch {
  id: string;
  source: "service" | "program";
  state: string;
  rows: { total: number; succeeded: number; failed: number; queued: number; unsent: number };
  rowsPerSecond: number | null;
  etaMs: number | null;
  tokens: { prompt: number; completion: number; cached: number };
  costUsd: number | null;
  maxCostUsd: number | null;
  quotedUsd: { p10: number; p50: number; p90: number } | null;
  rowsByLane: { batch: number; flex: number };
  savedUsd: number;
  lanes: BatchLane[];
  retries: number;
  rateLimited: number;
  cacheHits: number;
  createdAt: string | null;
  startedAt: string | null;
  endedAt: string | null;
  expiresAt: string | null;
  metadata: Record<string, string>;
  outputFileId: string | null;
  errorFileId: string | null;
  retryOf: string | null;
  retriedAs: string | null;
  schedule: string | null;
  faults: { message: string; line: number | null }[];
}

/** A provider batch that has rows of a batch. */
export interface BatchLane {
  model: string;
  id?: string;
  state: string;
  rows: number;
  done: number;
  reason?: string;
}

export interface FailureCause {
  code: string;
  message: string;
  hint?: string;
  providerMessage?: string;
  rows: number;
  customIds: string[];
}

export interface Schedule {
  id: string;
  kind: "workflow" | "completion" | "batch";
  subject: string;
  state: "active" | "paused";
  cron?: string;
  everyMs?: number;
  timezone: string;
  overlap: string;
  catchUp: string;
  createdAt: string;
  nextRun?: string;
  running: string[];
  ticks: { outcome: string; plannedAt: string; id?: string; reason?: string; count?: number }[];
}

export interface ConversationView {
  id: string;
  turns: number;
  calls: number;
  promptTokens: number;
  completionTokens: number;
  costUsd: number | null;
  hidden: number;
  data: { role: string; content?: unknown; tool_calls?: unknown; at: number; turn: number }[];
}

/** As much of JSON Schema as forms are made of. */
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  minimum?: number;
  maximum?: number;
}

export interface Worker {
  id: string;
  host: string;
  pid: number;
  version: string | null;
  uptimeMs: number | null;
  jobs: { active: number; ended: number } | null;
  isMemoryLow: boolean;
  rssBytes: number | null;
  memoryShare: number | null;
  lagMs: number | null;
  clockAheadMs: number | null;
  providers: string[];
  tools: string[];
  workflows: { name: string; version: number | null }[];
  activities: string[];
}

/** What a model used, in steps of a few seconds. */
export interface UseSeries {
  stepMs: number;
  data: { at: number; requests: number; tokens: number; rateLimited: number }[];
}
