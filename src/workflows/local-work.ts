import { toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { type Encoded, encode } from "../shared/serialize.ts";
import { isBlobRef } from "../store/blobs.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { type EndedEntry, notifyRun, type TriedEntry } from "../store/run-journal.ts";
import { inlineOrRunBlob } from "../store/run-record.ts";
import { type RunLock, showRun } from "../store/run-turn.ts";
import { inSpan } from "../telemetry/tracing.ts";
import type { LocalEffect } from "./effect.ts";
import type { Execution } from "./execution.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { pause, waitMs } from "./retry-policy.ts";
import { asWorkflowError, isFinal, stepLost, stepTimeout, workerLost } from "./run-errors.ts";
import type { OpenStep } from "./step.ts";

/** A step that was under way at so many losses of its worker counts as their cause. */
export const MAX_LOSSES = 10;
/** The tries of work that outlives its worker's lock. */
const MAX_OVERRUNS = 3;
/** Work that is done sooner is not shown as under way: to say so would cost more than the work. */
const SHOW_AFTER_MS = 100;

/** The local work that is under way in one activation of a run. */
export class LocalWork {
  /** To be written down, in this order. */
  readonly entries: (EndedEntry | TriedEntry)[] = [];
  readonly #fleet: FleetAccess;
  readonly #lock: RunLock;
  readonly #execution: Execution;
  /** Of the run's turn. */
  readonly #turn: AbortSignal;
  readonly #underWay = new Map<string, { startedAt: number; attempt: number; abort: AbortController }>();
  readonly #onTurnEnd = () => this.#abortAll(this.#turn.reason);
  #showTimer: NodeJS.Timeout | undefined;
  #isShown: boolean;

  constructor(
    fleet: FleetAccess,
    lock: RunLock,
    execution: Execution,
    turn: AbortSignal,
    { isShown }: { isShown: boolean },
  ) {
    this.#fleet = fleet;
    this.#lock = lock;
    this.#execution = execution;
    this.#turn = turn;
    this.#isShown = isShown;
  }

  get isUnderWay(): boolean {
    return this.#underWay.size > 0;
  }

  /** Begins a step's work, unless earlier tries say that it must not be done again. */
  begin(step: OpenStep, effect: LocalEffect): void {
    const { tries, overruns } = this.#execution;
    const losses = this.#execution.lossesSince(step.askedAt);
    if ((overruns.get(step.id) ?? 0) >= MAX_OVERRUNS) {
      this.#end(step, { error: stepLost(step.id) });
      return;
    }
    if (losses >= MAX_LOSSES) {
      this.#end(step, { error: workerLost(step.id) });
      return;
    }
    const attempt = (tries.get(step.id)?.attempt ?? 0) + 1;
    if (this.#underWay.size === 0) this.#turn.addEventListener("abort", this.#onTurnEnd);
    this.#underWay.set(step.id, { startedAt: Date.now(), attempt, abort: new AbortController() });
    // Work that was under way at a loss may hold this process up too: it is shown before it begins.
    if (losses > 0) this.#show();
    else this.#showTimer ??= setTimeout(() => this.#showLate(), SHOW_AFTER_MS);
    this.#tryAll(step, effect).catch((error: unknown) => {
      this.#fleet.logger.error({ runId: this.#lock.runId, step: step.id }, "local work cannot be recorded");
      this.#end(step, { error: asWorkflowError(error) });
    });
  }

  /** Aborts a step's work, whose end nobody waits for any more. */
  cancel(step: string): void {
    this.#underWay.get(step)?.abort.abort();
    this.#underWay.delete(step);
  }

  /** Nobody waits any more for what is still under way; the record no longer shows it. */
  stop(): void {
    clearTimeout(this.#showTimer);
    this.#turn.removeEventListener("abort", this.#onTurnEnd);
    this.#abortAll();
    this.#underWay.clear();
    if (this.#isShown) this.#show();
  }

  #abortAll(reason?: unknown): void {
    for (const { abort } of this.#underWay.values()) abort.abort(reason);
  }

  /** Says of work that has ended, and could not be written down because another worker has the run, that it was done. */
  async tellOverrun(entries: readonly { type: string; step?: string }[]): Promise<void> {
    const { store } = this.#fleet;
    for (const { type, step } of entries) {
      if (type !== "ended" || !step || this.#execution.steps.get(step)?.kind !== "local") continue;
      await notifyRun(store, this.#lock.runId, { type: "overran", step, at: Date.now() }).catch(() => {});
    }
  }

  async #tryAll(step: OpenStep, { work, retry, timeoutMs }: LocalEffect): Promise<void> {
    const { id } = step;
    const own = this.#underWay.get(id);
    if (!own) return;
    const { signal } = own.abort;
    const before = this.#execution.tries.get(id);
    if (before) await pause(before.at + waitMs(retry, before.attempt) - Date.now(), signal);
    for (;;) {
      if (signal.aborted) return;
      let outcome: { value: unknown } | { error: unknown };
      try {
        const attributes = () => ({ "gluellm.step": id, "gluellm.attempt": own.attempt });
        const value = await inSpan(`step ${id}`, { attributes }, () => bounded(id, work, signal, timeoutMs));
        outcome = { value };
      } catch (error) {
        outcome = { error };
      }
      // What the end of an activation broke off did not fail: the next one does it again.
      if (signal.aborted) {
        if (this.#turn.reason === "lock lost") await this.tellOverrun([{ type: "ended", step: id }]);
        return;
      }
      const isLast = !("error" in outcome) || own.attempt >= retry.maxAttempts || isFinal(outcome.error);
      if (isLast) return this.#record(step, outcome);
      this.entries.push({ type: "tried", step: id, at: Date.now(), attempt: own.attempt });
      this.#execution.activity.wake();
      await pause(waitMs(retry, own.attempt), signal);
      own.attempt += 1;
      if (this.#isShown) this.#show();
    }
  }

  async #record(step: OpenStep, outcome: { value: unknown } | { error: unknown }): Promise<void> {
    if ("error" in outcome) return this.#end(step, { error: asWorkflowError(outcome.error) });
    let encoded: Encoded;
    try {
      encoded = encode(outcome.value, `the result of step "${step.id}"`);
    } catch (error) {
      return this.#end(step, { error: asWorkflowError(error) });
    }
    const { json: value, isTyped } = encoded;
    if (value === undefined) return this.#end(step, {});
    const typed = isTyped ? { typed: true as const } : {};
    const { store, logger } = this.#fleet;
    const stored = await untilTaken(logger, () => inlineOrRunBlob(store, this.#lock.runId, value));
    this.#end(step, { ...typed, ...(isBlobRef(stored) ? { blob: stored } : { value }) });
  }

  #end(
    step: OpenStep,
    { error, ...brought }: Pick<EndedEntry, "value" | "blob" | "typed"> & { error?: GlueError },
  ): void {
    const at = Date.now();
    const entry: EndedEntry = { type: "ended", step: step.id, at, own: true, ...brought };
    const startedAt = this.#underWay.get(step.id)?.startedAt;
    if (startedAt !== undefined) entry.tookMs = at - startedAt;
    if (error) entry.error = toErrorRecord(error);
    this.entries.push(entry);
    this.#underWay.delete(step.id);
    this.#execution.activity.wake();
  }

  /** Shows what is under way once one of it takes its time; many that are done at once are none. */
  #showLate(): void {
    this.#showTimer = undefined;
    if (this.#underWay.size === 0) return;
    const oldest = Math.min(...[...this.#underWay.values()].map(({ startedAt }) => startedAt));
    const leftMs = oldest + SHOW_AFTER_MS - Date.now();
    if (leftMs <= 0) this.#show();
    else this.#showTimer = setTimeout(() => this.#showLate(), leftMs);
  }

  /** A message that is lost is no harm: the journal has the work's end. */
  #show(): void {
    const local = [...this.#underWay].map(([step, { startedAt, attempt }]) => ({ step, startedAt, attempt }));
    this.#isShown = local.length > 0;
    showRun(this.#lock, ["local", JSON.stringify(local)]).catch(() => {});
  }
}

/** One try. What does not heed its signal goes on unwatched after its time. */
async function bounded(
  step: string,
  work: LocalEffect["work"],
  signal: AbortSignal,
  timeoutMs: number | undefined,
): Promise<unknown> {
  if (timeoutMs === undefined) return work(signal);
  const { promise, reject } = Promise.withResolvers<never>();
  const end = new AbortController();
  const timer = setTimeout(() => {
    const error = stepTimeout(step, timeoutMs);
    reject(error);
    end.abort(error);
  }, timeoutMs);
  try {
    return await Promise.race([work(AbortSignal.any([signal, end.signal])), promise]);
  } finally {
    clearTimeout(timer);
  }
}
