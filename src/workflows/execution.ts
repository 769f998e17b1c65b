import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { Wakeup } from "../producers/wakeup.ts";
import { fromErrorRecord } from "../shared/error-record.ts";
import { JobCancelledError } from "../shared/errors.ts";
import type { AskedEntry, EndedEntry, RunJournalEntry, SignalEntry } from "../store/run-journal.ts";
import { notLast } from "./run-errors.ts";
import { SignalWaits } from "./signal-waits.ts";
import { changed, missing, type OpenStep, type RunOutcome, type StepRequest, StoredError } from "./step.ts";
import { Updates } from "./updates.ts";
import { cancelledEntry, isWithdrawal, withdrawnEntry } from "./withdrawals.ts";

/** How long the function may take to ask for what its run has recorded. */
const GRACE_MS = 500;
/** The same while it waits for something of its own, which may take its time again in a replay. */
const OWN_AWAIT_MS = 10 * 60_000;

const MAX_ASKS_AFTER_CANCEL = 1000;

/**
 * A workflow's function in memory. It learns only from the journal, entry by entry in the journal's order, and each
 * entry is worked off before the next one comes: so the same entries make the same function, live or in replay, with
 * plain Promise.all and Promise.race too.
 */
export class Execution {
  readonly steps = new Map<string, OpenStep>();
  readonly activity = new Wakeup();
  readonly updates = new Updates(() => this.#report());
  /** Called when the function asks for something while no worker's turn is on. */
  onActivity: () => void = () => {};
  outcome: RunOutcome | undefined;
  isCancelled = false;
  /** Entries delivered, and bytes of JSON of their values: the function may hold these, or have let them go. */
  seen = 0;
  deliveredBytes = 0;
  /** The latest time in the entries delivered. */
  now: number;
  /** Entries of an earlier turn are still to come. */
  isReplaying = false;
  readonly totals = { promptTokens: 0, completionTokens: 0, costUsd: 0, unpriced: 0, estimated: 0 };
  /** Patches that the journal has, and those asked for. */
  readonly patches = new Map<string, boolean>();
  newPatches: string[] = [];
  /** The failed tries of local work that is to be tried again, and when the last one failed. */
  readonly tries = new Map<string, { attempt: number; at: number }>();
  /** How often local work ended after its worker had lost the run. */
  readonly overruns = new Map<string, number>();
  /** The places in the journal at which a worker was lost. */
  readonly #losses: number[] = [];
  /** Steps that the function has asked for and the journal lacks. */
  readonly unrecorded = new Set<OpenStep>();
  readonly #signals = new SignalWaits();
  readonly #ended = new Set<string>();
  /** Steps to be cancelled. */
  readonly #cancelled = new Set<string>();
  readonly #end = Promise.withResolvers<void>();
  /** Ends when the function has. */
  readonly ended = this.#end.promise;
  #asksAfterCancel = 0;
  /** The function has asked to go on as new. */
  #isContinuing = false;
  /** Begins the names of all steps of this part of the run. */
  readonly scope: string;
  readonly #run: (execution: Execution) => Promise<unknown>;
  #isStarted = false;

  constructor(startedAt: number, scope: string, run: (execution: Execution) => Promise<unknown>) {
    this.now = startedAt;
    this.scope = scope;
    this.#run = run;
  }

  /** Calling it again does nothing. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#run(this).then(
      (value) => this.#onEnd({ value }),
      (error: unknown) => this.#onEnd({ error }),
    );
  }

  ask(ask: StepRequest): Promise<unknown> {
    if (this.isCancelled) return this.#askAfterCancel(ask);
    if (this.#isContinuing) this.#onEnd({ error: notLast() });
    if (ask.kind === "signal") this.#signals.withdrawLosers(ask.subject ?? "", this.steps.values());
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    // A branch may look at it later, or never.
    promise.catch(() => {});
    const step: OpenStep = {
      ...ask,
      askedAt: this.seen,
      isDispatched: false,
      isEnded: false,
      resolve,
      reject,
    };
    this.steps.set(ask.id, step);
    if (step.kind !== "local") this.unrecorded.add(step);
    this.#report();
    return promise;
  }

  /** A cancelled run may still do local work, in `finally`, which is not recorded; nothing else. */
  #askAfterCancel({ effect }: StepRequest): Promise<unknown> {
    this.#asksAfterCancel += 1;
    // A loop that takes each failure for one that passes would never end.
    if (this.#asksAfterCancel > MAX_ASKS_AFTER_CANCEL) return new Promise(() => {});
    if (effect.kind === "local") return Promise.resolve(effect.work(new AbortController().signal));
    return Promise.reject(new JobCancelledError({ message: "the run was cancelled" }));
  }

  /** Ends a step that nobody waits for any more. Returns false when there is no such step, or it has ended. */
  cancel(id: string): boolean {
    if (!this.steps.has(id)) return false;
    this.#cancelled.add(id);
    this.#report();
    return true;
  }

  /** Ends of waits that are withdrawn, to be written down before what is newly asked for. */
  takeWithdrawals(): EndedEntry[] {
    return this.#signals.takeWithdrawn((id) => this.steps.has(id)).map(withdrawnEntry);
  }

  /** Ends of steps that were cancelled, to be written down after what is newly asked for. */
  takeCancellations(): EndedEntry[] {
    const open = [...this.#cancelled].filter((id) => this.steps.has(id));
    this.#cancelled.clear();
    return open.map(cancelledEntry);
  }

  get hasCancellations(): boolean {
    return [...this.#cancelled].some((id) => this.steps.has(id));
  }

  /** Lets the function go on after its run was cancelled: nothing it waits for comes any more. */
  rejectAll(): void {
    for (const step of this.pending()) {
      step.isEnded = true;
      step.reject(new JobCancelledError({ message: "the run was cancelled", context: { step: step.id } }));
    }
  }

  /** True when this run goes the new way: it came here first with code that has the patch. */
  patch(id: string): boolean {
    const known = this.patches.get(id);
    if (known !== undefined) return known;
    const isNew = !this.isReplaying;
    this.patches.set(id, isNew);
    if (isNew) this.newPatches.push(id);
    return isNew;
  }

  /** It has ended, or asks for something that the journal lacks. */
  get hasNews(): boolean {
    const { outcome, newPatches } = this;
    return (
      outcome !== undefined ||
      this.unrecorded.size > 0 ||
      newPatches.length > 0 ||
      this.hasCancellations ||
      this.updates.hasAnswers
    );
  }

  /** How many workers were lost since the function had seen so many entries. */
  lossesSince(seen: number): number {
    return this.#losses.filter((place) => place >= seen).length;
  }

  /** Steps that have not ended. */
  pending(): OpenStep[] {
    return [...this.steps.values()].filter((step) => !step.isEnded);
  }

  /** @param value of an ended step or a signal, read from where it lies */
  async deliver(entry: RunJournalEntry, value: unknown): Promise<void> {
    this.now = Math.max(this.now, entry.at);
    switch (entry.type) {
      case "asked":
        await this.#deliverAsked(entry);
        break;
      case "ended":
        await this.#deliverEnded(entry, value);
        break;
      case "signal":
        await this.#deliverSignal(entry, value);
        break;
      case "update":
        await this.updates.deliver(entry, value);
        break;
      case "updated":
        this.updates.noteRecorded(entry.id);
        break;
      case "tried":
        this.tries.set(entry.step, { attempt: entry.attempt, at: entry.at });
        break;
      case "overran":
        this.overruns.set(entry.step, (this.overruns.get(entry.step) ?? 0) + 1);
        break;
      case "lost":
        this.#losses.push(this.seen);
        break;
      case "cancelled":
        this.isCancelled = true;
        break;
    }
    this.seen += 1;
  }

  async #deliverAsked(entry: AskedEntry): Promise<void> {
    const step = await this.#untilAsked(entry.step, `${entry.kind} ${entry.subject ?? ""}`.trim());
    if (step.kind !== entry.kind || step.digest !== entry.digest) throw changed(entry, step);
    step.asked = entry;
    this.unrecorded.delete(step);
    if (step.kind !== "signal") return;
    const early = this.#signals.add(step);
    if (early) await this.#settle(step, () => step.resolve(early.data));
  }

  async #deliverEnded(entry: EndedEntry, value: unknown): Promise<void> {
    const inVain = isWithdrawal(entry) && this.#signals.takeBack(entry.step);
    if (inVain) return this.#deliverSignal(inVain.entry, inVain.data);
    if (this.#ended.has(entry.step) || !entry.step.startsWith(this.scope)) return;
    const step = await this.#untilAsked(entry.step, "a finished step");
    // Only local work is recorded by its end alone: it answers nothing that would have been asked for in the journal.
    if (step.kind !== "local" && !step.asked) throw changed({ kind: "local" }, step);
    const { error, tokens, costUsd, taken } = entry;
    if (tokens && !taken) {
      this.totals.promptTokens += tokens.prompt;
      this.totals.completionTokens += tokens.completion;
      this.totals.costUsd += costUsd ?? 0;
      if (costUsd === null) this.totals.unpriced += 1;
      if (tokens.estimated) this.totals.estimated += 1;
    }
    const fault = error ?? (value instanceof StoredError ? value.record : undefined);
    await this.#settle(step, () =>
      fault ? step.reject(fromErrorRecord(fault, { step: step.id })) : step.resolve(value),
    );
  }

  async #deliverSignal(entry: SignalEntry, data: unknown): Promise<void> {
    const step = this.#signals.bring({ entry, data }, !this.isReplaying);
    if (step) await this.#settle(step, () => step.resolve(data));
  }

  async #settle(step: OpenStep, settle: () => void): Promise<void> {
    if (step.isEnded) return;
    step.isEnded = true;
    this.#ended.add(step.id);
    this.steps.delete(step.id);
    settle();
    // Everything that follows from it, before the next entry.
    await nextTurn();
  }

  async #untilAsked(id: string, what: string): Promise<OpenStep> {
    const startedAt = performance.now();
    for (;;) {
      const step = this.steps.get(id);
      if (step) return step;
      const waitsForSteps = this.unrecorded.size > 0 || this.steps.size > 0;
      const graceMs = waitsForSteps ? GRACE_MS : OWN_AWAIT_MS;
      if (this.outcome || performance.now() - startedAt > graceMs) throw missing(id, what, this);
      await delay(1);
    }
  }

  /** @throws NonDeterminismError when the function has ended without what its run has recorded. */
  checkEnd(rest: readonly RunJournalEntry[]): void {
    const lost = rest.find((entry) => entry.type === "asked" && !this.steps.has(entry.step));
    if (lost?.type === "asked") throw missing(lost.step, lost.kind, this);
  }

  /** Ends this part of the run, when the function does nothing any more. */
  continueAsNew(next: unknown): Promise<never> {
    this.#isContinuing = true;
    setImmediate(() => {
      if (!this.outcome) this.#onEnd({ next });
    });
    return new Promise(() => {});
  }

  /** Signals that no wait has got, and updates without an answer, in the order in which they came. */
  get unread(): RunJournalEntry[] {
    return [...this.#signals.unread, ...this.updates.open].sort((a, b) => a.at - b.at);
  }

  #onEnd(given: RunOutcome): void {
    const outcome = this.#isContinuing && !("next" in given) ? { error: notLast() } : given;
    this.outcome ??= outcome;
    this.#end.resolve();
    this.#report();
  }

  #report(): void {
    this.activity.wake();
    this.onActivity();
  }
}
