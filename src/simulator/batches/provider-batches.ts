import { sha256 } from "../../shared/digest.ts";
import type { Dialect, ErrorAnswer, Refusal } from "../dialect.ts";
import type { AnswerScript } from "../directive.ts";
import type { FaultPlan } from "../fault-plan.ts";
import { faultRefusal, isErrorFault } from "../fault-refusal.ts";
import type { FaultKind } from "../faults.ts";
import type { CallJournal } from "../journal.ts";
import { type ReceivedCall, receiveCall } from "../received-call.ts";
import { shareOf } from "../request-hash.ts";
import {
  type BatchPlan,
  CANCELLING_MS,
  durationOf,
  FINALIZING_MS,
  VALIDATING_MS,
  WINDOW_MS,
} from "./plan.ts";

/** What of a simulation batches need. */
interface Simulated {
  journal: CallJournal;
  faults: FaultPlan;
  seed: number;
  answer: AnswerScript | undefined;
}

/** A row as it was sent. */
export interface BatchRow {
  customId: string;
  dialect: Dialect;
  received: ReceivedCall;
  /** The share of the batch's time after which it is done, by which results are ordered. */
  doneAtShare: number;
}

/** What became of a row. */
export type RowResult =
  | { state: "succeeded"; body: object; requestId: string }
  | { state: "errored"; error: ErrorAnswer; requestId: string }
  | { state: "cancelled" | "expired" };

/** A batch of either vendor. Times are epoch milliseconds. */
export interface ProviderBatch {
  id: string;
  dialect: Dialect;
  /** The account that made it, by a digest of its key. */
  account: string;
  model: string;
  promptTokens: number;
  rows: readonly BatchRow[];
  /** By the row's place; whole from the end of the batch on. */
  results: readonly RowResult[] | undefined;
  createdAt: number;
  expiresAt: number;
  /** When all rows would be done. */
  doneAt: number;
  cancelledAt: number | undefined;
  /** When it ended, the making of its files included. */
  endedAt: number | undefined;
  outcome: "completed" | "expired" | "cancelled" | undefined;
  /** Why it failed before it began. */
  failure: { code: string; message: string; line?: number | undefined } | undefined;
  /** What a vendor adds of its own. */
  own: Record<string, unknown>;
}

/** The batches and files of a simulated provider; they live as long as it does. */
export class ProviderBatches {
  readonly plan: BatchPlan;
  readonly files = new Map<
    string,
    { account: string; name: string; purpose: string; text: string; createdAt: number }
  >();
  readonly #simulation: Simulated;
  readonly #batches: ProviderBatch[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #made = 0;

  constructor(simulation: Simulated, plan: BatchPlan) {
    this.#simulation = simulation;
    this.plan = plan;
  }

  /** Returns a new id: a prefix and a number of this provider's start, so that a restart gives no id again. */
  newId(prefix: string): string {
    return `${prefix}${Date.now().toString(36)}${(++this.#made).toString(36).padStart(4, "0")}`;
  }

  /** Makes a batch and begins it, unless it fails at once. */
  create(
    fields: Pick<ProviderBatch, "id" | "dialect" | "account" | "own" | "failure">,
    lines: readonly { customId: string; body: unknown; dialect: Dialect }[],
  ): ProviderBatch {
    const { plan } = this;
    const createdAt = Date.now();
    const isExpiring = plan.expire.times > 0 && !fields.failure;
    if (isExpiring) plan.expire.times--;
    const drawn = plan.durationMs ?? durationOf(shareOf(sha256(`${fields.id}:${this.#simulation.seed}`)));
    // A row more is not done at the end of the window, whatever is lost by rounding.
    const workMs = isExpiring ? WINDOW_MS / (plan.expire.doneShare + 1e-5) : VALIDATING_MS + drawn;
    const rows = lines.map(({ customId, body, dialect }, at) => ({
      customId,
      dialect,
      received: receiveCall(dialect, Buffer.from(JSON.stringify(body)), this.#simulation.answer),
      doneAtShare: isExpiring ? (at + 1) / lines.length : shareOf(sha256(`${fields.id}:${at}`)),
    }));
    const batch: ProviderBatch = {
      ...fields,
      model: rows.find(({ received }) => received.call)?.received.call?.model ?? "",
      promptTokens: rows.reduce((sum, { received }) => sum + (received.call?.promptTokens ?? 0), 0),
      rows,
      results: undefined,
      createdAt,
      expiresAt: createdAt + WINDOW_MS / plan.speed,
      doneAt: createdAt + workMs / plan.speed,
      cancelledAt: undefined,
      endedAt: fields.failure ? createdAt : undefined,
      outcome: undefined,
    };
    this.#batches.push(batch);
    if (!batch.failure) this.#endWhenDue(batch);
    return batch;
  }

  /** Returns the batch of an account; undefined when it has none of that id. */
  get(account: string, id: string): ProviderBatch | undefined {
    const batch = this.#batches.find((one) => one.id === id && one.account === account);
    if (batch) this.#endIfDue(batch);
    return batch;
  }

  /** Returns an account's batches of a vendor, the newest first. */
  list(account: string, vendor: Dialect["name"]): ProviderBatch[] {
    const listed = Date.now() - this.plan.listLagMs / this.plan.speed;
    const own = this.#batches.filter(
      (one) => one.account === account && one.dialect.name === vendor && one.createdAt <= listed,
    );
    for (const batch of own) this.#endIfDue(batch);
    return own.reverse();
  }

  /** Asks a batch to end; one that has ended stays as it is. */
  cancel(batch: ProviderBatch): void {
    if (batch.endedAt !== undefined || batch.cancelledAt !== undefined) return;
    batch.cancelledAt = Date.now();
    this.#endWhenDue(batch);
  }

  /** Returns how many rows are done by now. */
  doneRows({ rows, createdAt, doneAt, cancelledAt, expiresAt, failure }: ProviderBatch): number {
    if (failure) return 0;
    const until = Math.min(Date.now(), cancelledAt ?? Number.POSITIVE_INFINITY, expiresAt);
    const share = (until - createdAt) / Math.max(doneAt - createdAt, 1e-9);
    return rows.filter(({ doneAtShare }) => doneAtShare <= share).length;
  }

  /** Returns the tokens of a model that an account's unfinished batches hold. */
  pooledTokens(account: string, model: string): number {
    return this.#batches
      .filter((one) => one.account === account && one.model === model && one.endedAt === undefined)
      .reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #endOf({ doneAt, expiresAt, cancelledAt }: ProviderBatch) {
    const { speed } = this.plan;
    const cancelled =
      cancelledAt === undefined ? Number.POSITIVE_INFINITY : cancelledAt + CANCELLING_MS / speed;
    const end = Math.min(doneAt, expiresAt, cancelled);
    const outcome = end === cancelled ? "cancelled" : end === doneAt ? "completed" : "expired";
    return { at: end + FINALIZING_MS / speed, outcome } as const;
  }

  #endWhenDue(batch: ProviderBatch): void {
    const inMs = Math.min(Math.max(0, this.#endOf(batch).at - Date.now()), 2 ** 31 - 1);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#endIfDue(batch);
    }, inMs + 1);
    timer.unref();
    this.#timers.add(timer);
  }

  #endIfDue(batch: ProviderBatch): void {
    if (batch.endedAt !== undefined) return;
    const { at, outcome } = this.#endOf(batch);
    if (Date.now() < at) return;
    const { cancelledAt, expiresAt, createdAt, doneAt } = batch;
    const until = { completed: doneAt, expired: expiresAt, cancelled: cancelledAt ?? 0 }[outcome];
    const share = (until - createdAt) / Math.max(doneAt - createdAt, 1e-9);
    batch.results = batch.rows.map((row) => {
      if (row.doneAtShare > share) return { state: outcome === "expired" ? "expired" : "cancelled" };
      return this.#answer(batch, row, createdAt + row.doneAtShare * (doneAt - createdAt));
    });
    batch.outcome = outcome;
    batch.endedAt = at;
  }

  #answer(batch: ProviderBatch, { customId, dialect, received }: BatchRow, at: number): RowResult {
    const { journal, faults } = this.#simulation;
    const { call, contentHash } = received;
    const fault = call && faults.next(contentHash, call.lastUserText, received.answer.error).fault?.kind;
    const refusal = call ? refusalOf(fault, call.model) : received.refusal;
    const entry = journal.arrived({
      at,
      key: batch.account,
      model: call?.model ?? "",
      dialect: batch.dialect.name,
      operation: call?.embeddings ? "embeddings" : "chat",
      contentHash,
      lastUserText: (call?.lastUserText ?? "").slice(0, 80),
      turn: call?.turn ?? 0,
      toolNames: call?.tools.map(({ name }) => name) ?? [],
      hasAnswerSchema: call?.answerSchema !== undefined,
      status: refusal ? dialect.errorAnswer(refusal, "").status : 200,
      fault: fault ?? null,
      promptTokens: call && !refusal ? call.promptTokens : 0,
      completionTokens: call && !refusal ? received.answer.completionTokens : 0,
      cachedTokens: 0,
      lane: "batch",
      batchId: batch.id,
      customId,
    });
    journal.finished(entry, at, false);
    const requestId = `req_simulator_${entry.n}`;
    if (refusal) return { state: "errored", error: dialect.errorAnswer(refusal, requestId), requestId };
    const identity = { requestId, createdAt: Math.floor(at / 1000) };
    const body = call ? dialect.answerBody(call, received.answer, identity) : {};
    return { state: "succeeded", body, requestId };
  }
}

/** Returns the error that a fault is in a batch, where nothing hangs and no connection breaks. */
function refusalOf(fault: FaultKind | undefined, model: string): Refusal | undefined {
  if (fault === undefined || fault === "slow") return undefined;
  const kind = isErrorFault(fault) ? fault : "500";
  return faultRefusal(kind, { kind, retryAfterMs: undefined, hangMs: 0, latencyMs: 0 }, model);
}
