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
  kind: "job" | "run";
  id: string;
  subject: string;
  code: string;
  message: string;
  failedAt: string;
  attempts: number;
  costUsd: number | null;
}

export interface LetterReport {
  matched: number;
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
