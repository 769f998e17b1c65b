import { Series, type SeriesSnapshot } from "./series.ts";

const MAX_SECONDS = 3600;

/** What happened in one second, for plots. */
export interface SecondStatistics {
  /** The second since the epoch. */
  second: number;
  requests: number;
  accepted: number;
  /** Calls refused by the limits. */
  rateLimited: number;
  /** Tokens accepted, prompt and completion. */
  tokens: number;
}

/** The counts at one instant. */
export interface StatisticsSnapshot {
  /** Calls of the model endpoints. */
  requests: number;
  /** Calls and tokens charged to the limits. */
  accepted: { requests: number; promptTokens: number; completionTokens: number };
  rateLimited: number;
  /** HTTP status → finished calls; `none`: no status was sent. */
  byStatus: Record<string, number>;
  /** Fault kind, or `outage` → times injected. */
  byFault: Record<string, number>;
  aborted: number;
  inFlight: number;
  maxInFlight: number;
  socketsOpened: number;
  /** The last hour, seconds without a call left out. */
  perSecond: SecondStatistics[];
}

/** Counts of one simulator since its start or the last reset. */
export class Statistics {
  #counts = emptyCounts();
  #inFlight = 0;
  #seconds: SecondStatistics[] = [];
  #series = new Series();

  socketOpened(): void {
    this.#counts.socketsOpened++;
  }

  arrived(at: number): void {
    this.#counts.requests++;
    this.#second(at).requests++;
    this.#counts.maxInFlight = Math.max(this.#counts.maxInFlight, ++this.#inFlight);
  }

  accepted(at: number, promptTokens: number, completionTokens: number): void {
    const { accepted } = this.#counts;
    accepted.requests++;
    accepted.promptTokens += promptTokens;
    accepted.completionTokens += completionTokens;
    const second = this.#second(at);
    second.accepted++;
    second.tokens += promptTokens + completionTokens;
    const slot = this.#series.slot(at);
    slot.accepted++;
    slot.tokens += promptTokens + completionTokens;
  }

  rateLimited(at: number): void {
    this.#counts.rateLimited++;
    this.#second(at).rateLimited++;
    this.#series.slot(at).rateLimited++;
  }

  fault(kind: string): void {
    increment(this.#counts.byFault, kind);
  }

  finished(status: number | null, aborted: boolean): void {
    this.#inFlight--;
    increment(this.#counts.byStatus, String(status ?? "none"));
    if (aborted) this.#counts.aborted++;
  }

  snapshot(): StatisticsSnapshot {
    return structuredClone({ ...this.#counts, inFlight: this.#inFlight, perSecond: this.#seconds });
  }

  series(sinceEpochMs?: number): SeriesSnapshot {
    return this.#series.since(sinceEpochMs);
  }

  /** Counts from zero again; calls in flight stay in flight. */
  reset(): void {
    this.#counts = { ...emptyCounts(), maxInFlight: this.#inFlight };
    this.#seconds = [];
    this.#series = new Series();
  }

  #second(at: number): SecondStatistics {
    const second = Math.floor(at / 1000);
    const last = this.#seconds.at(-1);
    if (last?.second === second) return last;
    const next = { second, requests: 0, accepted: 0, rateLimited: 0, tokens: 0 };
    this.#seconds.push(next);
    if (this.#seconds.length > MAX_SECONDS) this.#seconds.shift();
    return next;
  }
}

function emptyCounts() {
  return {
    requests: 0,
    accepted: { requests: 0, promptTokens: 0, completionTokens: 0 },
    rateLimited: 0,
    byStatus: {} as Record<string, number>,
    byFault: {} as Record<string, number>,
    aborted: 0,
    maxInFlight: 0,
    socketsOpened: 0,
  };
}

function increment(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
