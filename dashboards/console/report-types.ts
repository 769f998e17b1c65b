/* What the API answers of errors, dead letters and the history, as far as pages show it. */

export interface ErrorGroup {
  failed: number;
  failedCalls: number;
  code?: string;
  model?: string;
  provider?: string;
  queue?: string;
  hour?: string;
  example?: { kind: "job" | "run"; id: string; at: string; message: string };
}

export interface ErrorReport {
  since: string;
  until: string;
  failed: number;
  failedCalls: number;
  succeeded: number;
  spentUsd?: number;
  groups: ErrorGroup[];
  patterns: { pattern: string; count: number; text: string; hint: string }[];
}

export interface LetterGroup {
  kind: "job" | "run" | "batch";
  code: string;
  subject: string;
  count: number;
  firstAt: string;
  lastAt: string;
  example: { id: string; message: string };
  hint?: string;
}

export interface DeadLetter {
  kind: LetterGroup["kind"];
  id: string;
  subject: string;
  code: string;
  message: string;
  failedAt: string;
  attempts: number;
  costUsd: number | null;
  rows?: number;
  /** Of a batch that a program has run: the command that sends its rows again. */
  hint?: string;
}

export interface LetterReport {
  matched: number;
  rows: number;
  changed: number;
  failed: number;
  failures: { id: string; code: string; message: string }[];
  quoteUsd: number | null;
}

/** What calls cost, out of the history. */
export interface Spend {
  group: Record<string, string>;
  calls: number;
  costUsd: number;
  unpriced: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

/** A job that has ended, out of the history. */
export interface PastJob {
  id: string;
  model: string;
  state: string;
  endedAt: string;
  costUsd: number | null;
  errorMessage: string | null;
  prompt: string | null;
}

export interface SlowItem {
  id: string;
  subject: string;
  durationMs: number;
}

/** What somebody did. */
export interface AuditedAct {
  seq: number;
  at: number;
  actor: string;
  role: string | null;
  address: string | null;
  tenant: string;
  action: string;
  target: string | null;
  /** `done`, a code, or null: not ended. */
  outcome: string | null;
  beforeDigest: string | null;
  afterDigest: string | null;
}

export interface ActPage {
  isOn: boolean;
  /** Entries that are not in the database yet. */
  waiting: number;
  number: number;
  data: AuditedAct[];
}

export interface AuditReport {
  rows: number;
  head: { seq: number; hash: string };
  faults: { seq: number; kind: string; problem: string }[];
}
