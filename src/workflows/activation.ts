import { setImmediate as nextTurn } from "node:timers/promises";
import { clockOf } from "../store/redis-clock.ts";
import {
  appendEntries,
  type EndedEntry,
  type RunJournalEntry,
  readRunJournal,
} from "../store/run-journal.ts";
import { isBounded, type RunRecord } from "../store/run-record.ts";
import { type Denied, type RunLock, showRun, suspendRun } from "../store/run-turn.ts";
import { notify } from "../store/topics.ts";
import { cleanUp } from "./clean-up.ts";
import { cancelSteps } from "./end-run.ts";
import { EntryValues, isOfActivation } from "./entry-values.ts";
import type { Execution } from "./execution.ts";
import { type LiveRun, metadataFields, sleepingOf } from "./live-run.ts";
import { LocalWork } from "./local-work.ts";
import { repair } from "./repair-steps.ts";
import { deadlineError } from "./run-errors.ts";
import type { RunInput } from "./run-input.ts";
import { askedEntry, dispatch, isOutside } from "./run-steps.ts";
import type { OpenStep } from "./step.ts";
import { dueEntries, nextTimer } from "./timers.ts";

/** Entries per call: a script has bounded arguments. */
const APPEND_CHUNK = 500;
/** A message may be lost with its connection: a look at the journal makes up for it. */
const POLL_MS = 1000;
/** Local work that is done sooner is waited for without a subscription. */
const LISTEN_AFTER_MS = 20;

export type ActivationEnd = "suspended" | "ended" | Denied;

/** The time in which one worker holds a run: its function goes on until it waits for what is not there yet. */
export class Activation {
  readonly #input: RunInput;
  readonly #lock: RunLock;
  readonly #run: RunRecord;
  readonly #live: LiveRun;
  readonly #execution: Execution;
  /** The last entry of earlier activations that the function has not seen. */
  #replayUntil = -1;
  /** Read, not delivered. */
  #ahead: readonly RunJournalEntry[] = [];
  readonly #values: EntryValues;
  readonly #local: LocalWork;
  #denied: Denied | undefined;
  /** To what others append to the journal; undefined while nothing in this process is waited for. */
  #listening: Promise<Disposable | undefined> | undefined;

  constructor(input: RunInput, lock: RunLock, run: RunRecord, live: LiveRun) {
    const { fleet, signal } = input;
    this.#input = input;
    this.#lock = lock;
    this.#run = run;
    this.#live = live;
    this.#execution = live.execution;
    this.#values = new EntryValues(fleet.store, live.execution);
    this.#local = new LocalWork(fleet, lock, live.execution, signal, { isShown: run.local.length > 0 });
  }

  /**
   * @param journal from the first entry on that the function has not seen
   * @returns `ended` when the function has returned or thrown (`execution.outcome`)
   * @throws NonDeterminismError
   */
  async run(journal: readonly RunJournalEntry[]): Promise<ActivationEnd> {
    const stop = () => this.#execution.activity.wake();
    this.#input.signal.addEventListener("abort", stop, { once: true });
    try {
      return await this.#goThrough(journal);
    } finally {
      this.#input.signal.removeEventListener("abort", stop);
      this.#local.stop();
      void this.#listening?.then((listener) => listener?.[Symbol.dispose]());
    }
  }

  async #goThrough(journal: readonly RunJournalEntry[]): Promise<ActivationEnd> {
    const execution = this.#execution;
    // Woken without news: a step's job may have ended without a word, or was removed.
    if (journal.length === 0)
      for (const step of execution.pending()) step.isDispatched &&= step.kind === "local";
    this.#lookAhead(journal);
    this.#replayUntil = execution.seen + this.#ahead.findLastIndex(isOfActivation);
    execution.isReplaying = execution.seen <= this.#replayUntil;
    execution.start();
    await nextTurn();
    for (;;) {
      await this.#deliver();
      if (execution.isCancelled) {
        this.#local.stop();
        await cleanUp(execution, this.#live.cancelHandlers, this.#input.fleet.logger);
        return "over";
      }
      if (execution.outcome) {
        execution.checkEnd(this.#ahead);
        return "ended";
      }
      if (await this.#goOn()) continue;
      if (this.#denied === "over" && (await this.#isCancelled())) continue;
      if (this.#denied) return this.#denied;
      const end = await suspendRun(
        this.#lock,
        execution.seen,
        this.#nextWake(),
        sleepingOf(this.#live, this.#run),
      );
      if (end === "over" && (await this.#isCancelled())) continue;
      if (end !== "news") return end;
      await this.#read();
    }
  }

  /** True when there is more to deliver, or may be; false when everything waits for what is outside. */
  async #goOn(): Promise<boolean> {
    const execution = this.#execution;
    if (this.#now() >= this.#run.deadlineAt) {
      execution.outcome = { error: deadlineError() };
      return true;
    }
    if (this.#live.isMetadataNew) this.#showMetadata();
    if (execution.unrecorded.size > 0 || execution.newPatches.length > 0 || execution.hasCancellations)
      return this.#record();
    const local = this.#local.entries.splice(0);
    if (local.length > 0) {
      const { metrics } = this.#input.fleet;
      for (const { type } of local) if (type === "ended") metrics?.stepAsked(this.#run.workflow, "local");
      return this.#append(local);
    }
    if (execution.updates.hasAnswers) return this.#answer();
    const due = dueEntries(execution, this.#now());
    if (due.length > 0) return this.#append(due);
    const undispatched = execution.pending().filter((step) => !step.isDispatched);
    if (undispatched.length > 0) return this.#begin(undispatched);
    const timer = nextTimer(execution, this.#run.deadlineAt);
    // BullMQ wakes by this machine's clock: where that is ahead, it would do so again and again until the time has come.
    const wouldWake = timer <= Date.now();
    const leftMs = Math.max(1, timer - this.#now());
    if (this.#local.isUnderWay || execution.steps.size === 0 || wouldWake) return this.#wait(leftMs);
    // A host that keeps no functions replays them at every step.
    const lingerMs = this.#input.cache ? this.#live.pace.lingerMs : 0;
    if (lingerMs <= 0 || !execution.pending().some(({ kind }) => isOutside(kind))) return false;
    this.#listening ??= this.#listen();
    return this.#input.withoutSlot(() => this.#wait(Math.min(leftMs, lingerMs)));
  }

  /** Waits for work of this process, or for what others append to the journal, at most for so long. */
  async #wait(maxMs: number): Promise<boolean> {
    const { activity } = this.#execution;
    if (!this.#listening && (await activity.wait(Math.min(LISTEN_AFTER_MS, maxMs))) && this.#hasOwnNews)
      return true;
    this.#listening ??= this.#listen();
    await activity.wait(Math.min(POLL_MS, maxMs));
    // What is written down now comes back with all that others have.
    return this.#hasOwnNews || this.#read();
  }

  get #hasOwnNews(): boolean {
    return this.#local.entries.length > 0 || this.#execution.hasNews;
  }

  /** A message that is lost is no harm: the end of the turn says it again. */
  #showMetadata(): void {
    this.#live.isMetadataNew = false;
    showRun(this.#lock, metadataFields(this.#live)).catch(() => {});
  }

  /** What ended the run may be a cancellation, which the function is told. */
  async #isCancelled(): Promise<boolean> {
    await this.#read();
    return this.#ahead.some(({ type }) => type === "cancelled");
  }

  async #listen(): Promise<Disposable | undefined> {
    const wake = () => this.#execution.activity.wake();
    const { notifier } = this.#input.fleet.store;
    const listener = await notifier.listen({ [`workflow:${this.#run.id}`]: wake }).catch(() => undefined);
    // What came before the subscription stood is found by a look.
    wake();
    return listener;
  }

  async #deliver(): Promise<void> {
    const execution = this.#execution;
    for (let i = 0; i < this.#ahead.length && !execution.outcome; i++) {
      this.#input.signal.throwIfAborted();
      const entry = this.#ahead[i] as RunJournalEntry;
      execution.isReplaying = execution.seen < this.#replayUntil;
      if (entry.type === "ended" && !entry.own) this.#live.pace.ended();
      await execution.deliver(entry, await this.#values.of(this.#ahead, i));
      if (execution.outcome) {
        this.#ahead = this.#ahead.slice(i + 1);
        return;
      }
    }
    execution.isReplaying = false;
    this.#ahead = [];
  }

  #lookAhead(entries: readonly RunJournalEntry[]): void {
    this.#ahead = entries;
    for (const entry of entries) {
      if (entry.type === "asked" && entry.kind === "completion" && entry.job)
        this.#values.expect(entry.step, entry.job);
      // The function asks before the place is reached at which the answer was written down.
      if (entry.type === "patch") this.#execution.patches.set(entry.id, true);
    }
  }

  async #read(): Promise<true> {
    this.#input.signal.throwIfAborted();
    this.#lookAhead(await readRunJournal(this.#input.fleet.store, this.#run.id, this.#execution.seen));
    return true;
  }

  async #append(entries: readonly RunJournalEntry[]): Promise<boolean> {
    for (let i = 0; i < entries.length; i += APPEND_CHUNK) {
      const isLast = i + APPEND_CHUNK >= entries.length;
      // Only the last answer need hold entries.
      const from = isLast ? this.#execution.seen : 1e15;
      const reply = await appendEntries(this.#lock, from, entries.slice(i, i + APPEND_CHUNK));
      if (typeof reply === "string") {
        this.#denied = reply;
        if (reply === "fenced") await this.#local.tellOverrun(entries);
        return false;
      }
      this.#lookAhead(reply);
    }
    return true;
  }

  /** What the function newly asks for goes into the journal, then into the queues. */
  async #record(): Promise<boolean> {
    const digestOf = await this.#input.fleet.store.sealing.digests();
    const execution = this.#execution;
    const steps = [...execution.unrecorded];
    const at = this.#now();
    const withdrawn = execution.takeWithdrawals();
    const patches = execution.newPatches.splice(0).map((id) => ({ type: "patch" as const, id, at }));
    const asked = steps.map((step) => askedEntry(this.#run, step, at, digestOf));
    const cancelled = execution.takeCancellations();
    if (!(await this.#append([...withdrawn, ...patches, ...asked, ...cancelled]))) return false;
    for (const [n, step] of steps.entries()) step.asked = asked[n];
    for (const { kind } of steps) this.#input.fleet.metrics?.stepAsked(this.#run.workflow, kind);
    if (steps.some(({ kind }) => isOutside(kind))) this.#live.pace.asked();
    await dispatch(this.#input.fleet, this.#run, steps);
    await this.#stop(cancelled);
    return true;
  }

  async #answer(): Promise<boolean> {
    const { store } = this.#input.fleet;
    if (!(await this.#append(await this.#execution.updates.takeAnswers(store, this.#run.id)))) return false;
    await notify(store, "workflow", this.#run.id);
    return true;
  }

  /** What the function has cancelled ends, wherever it is. */
  async #stop(cancelled: readonly EndedEntry[]): Promise<void> {
    const { steps } = this.#execution;
    // Of abandoned child runs too: it is not its own end that the run ends them by.
    const asked = cancelled.flatMap(({ step }) => {
      const entry = steps.get(step)?.asked;
      return entry ? { ...entry, abandon: undefined } : [];
    });
    for (const { step } of cancelled) this.#local.cancel(step);
    await cancelSteps(this.#input.fleet, asked);
  }

  /** Local work begins only when the journal does not have its end; other steps may be an earlier activation's. */
  async #begin(steps: readonly OpenStep[]): Promise<boolean> {
    this.#input.signal.throwIfAborted();
    const others = steps.filter(({ kind }) => kind !== "local");
    for (const step of steps) {
      step.isDispatched = true;
      if (step.effect.kind === "local") this.#local.begin(step, step.effect);
    }
    const outside = others.filter(({ kind }) => isOutside(kind));
    if (outside.length === 0) {
      // Work that is done at once is: it needs no look at the journal, and nobody to tell of news.
      await nextTurn();
      return true;
    }
    const ended = await repair(this.#input.fleet, this.#run, outside);
    if (ended.length > 0) return this.#append(ended);
    return this.#read();
  }

  /** By the clock of Redis, as timers and deadlines are. */
  #now(): number {
    return clockOf(this.#input.fleet.store).now();
  }

  /** Undefined when only others can wake it. */
  #nextWake(): number | undefined {
    const wakeAt = nextTimer(this.#execution, this.#run.deadlineAt);
    return wakeAt === this.#run.deadlineAt && !isBounded(this.#run) ? undefined : wakeAt;
  }
}
