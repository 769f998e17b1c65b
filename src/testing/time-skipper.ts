import { setTimeout as delay } from "node:timers/promises";
import { sleepKeys } from "../store/bullmq-sleep.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { clockOf } from "../store/redis-clock.ts";
import { notifyRun, type RunJournalEntry, readRunJournal, runJournalLength } from "../store/run-journal.ts";
import { listRuns } from "../store/run-list.ts";
import { isBounded, type RunRecord, readRun } from "../store/run-record.ts";
import { openSteps } from "../workflows/end-run.ts";
import { signalAnswers } from "../workflows/signal-answers.ts";

/** How often is looked whether all runs sleep. */
const LOOK_MS = 5;
/** More runs than these at a time are no test. */
const MAX_RUNS = 10_000;

interface Standing {
  /** Whether nothing goes on by itself: all runs sleep, and none has a call or an activity under way. */
  isIdle: boolean;
  /** When the next sleep or wait ends, or the next deadline passes; undefined: nothing waits for a time. */
  nextAt: number | undefined;
  runIds: string[];
  /** How much each run has recorded. */
  lengths: string;
}

/** Lets the time of a test's runs jump: from one timer to the next, whenever nothing else goes on. */
export class TimeSkipper {
  readonly #store: ConnectedStore;
  /** One jump at a time. */
  #last: Promise<unknown> = Promise.resolve();
  /** What was recorded at the last look, when all runs slept. */
  #lengths: string | undefined;

  constructor(store: ConnectedStore) {
    this.#store = store;
  }

  /** The time of the runs, in epoch milliseconds. */
  now(): number {
    return clockOf(this.#store).now();
  }

  /** Skips whatever the runs wait for until the signal aborts. */
  async skipUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#inTurn(() => this.#skipOne(Number.POSITIVE_INFINITY));
      await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Skips so many milliseconds, timer by timer; what a timer sets off has ended, or waits again, before the next one. */
  async skip(ms: number): Promise<void> {
    const until = this.now() + ms;
    for (;;) {
      const left = await this.#inTurn(() => this.#skipOne(until));
      if (left === "done") return;
      await delay(LOOK_MS);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Goes to the next timer when all runs sleep, at most to `until`. */
  async #skipOne(until: number): Promise<"done" | "goOn"> {
    const { isIdle, nextAt, runIds, lengths } = await this.#look();
    // Runs are looked at one after the other: what happened meanwhile shows at the next look.
    const isSettled = isIdle && lengths === this.#lengths;
    this.#lengths = isIdle ? lengths : undefined;
    if (!isSettled) return "goOn";
    const isLast = nextAt === undefined || nextAt > until;
    if (isLast && until === Number.POSITIVE_INFINITY) return "goOn";
    const to = isLast ? until : nextAt;
    clockOf(this.#store).skip(Math.max(0, Math.ceil(to - this.now())));
    if (isLast) return "done";
    for (const runId of runIds) await notifyRun(this.#store, runId);
    return "goOn";
  }

  async #look(): Promise<Standing> {
    const store = this.#store;
    const { runs } = await listRuns(store, { state: "running" }, MAX_RUNS);
    const runIds = runs.map(({ id }) => id);
    const times: number[] = [];
    const lengths: string[] = [];
    for (const id of runIds) {
      const run = await readRun(store, id);
      if (run?.status !== "running") continue;
      const journal = await readRunJournal(store, id);
      const { isAtWork, nextAt } = openIn(journal);
      if (isAtWork || !(await this.#isAsleep(run, journal.length))) {
        return { isIdle: false, nextAt: undefined, runIds, lengths: "" };
      }
      times.push(...nextAt, ...(isBounded(run) ? [run.deadlineAt] : []));
      if (run.startAt !== undefined && run.begunAt === undefined) times.push(run.startAt);
      lengths.push(`${id} ${journal.length}`);
    }
    const nextAt = times.length > 0 ? Math.min(...times) : undefined;
    return { isIdle: true, nextAt, runIds, lengths: lengths.join() };
  }

  /** Whether the run sleeps, and has recorded nothing since it had so many entries. */
  async #isAsleep({ id, queue }: RunRecord, length: number): Promise<boolean> {
    const { redis } = this.#store;
    const { waitingChildren, delayed } = sleepKeys(this.#store, queue);
    const [forOthers, forTime] = await Promise.all([
      redis.zscore(waitingChildren, id),
      redis.zscore(delayed, id),
    ]);
    if (forOthers === null && forTime === null) return false;
    return (await runJournalLength(this.#store, id)) === length;
  }
}

/** What a run has under way: whether anything goes on by itself, and the times for which it waits. */
function openIn(journal: readonly RunJournalEntry[]): { isAtWork: boolean; nextAt: number[] } {
  const answered = signalAnswers(journal);
  const open = openSteps(journal).filter(({ step }) => !answered.has(step));
  const timers = open.filter(({ kind }) => kind === "sleep" || kind === "signal" || kind === "child");
  return {
    // A child run is looked at by itself.
    isAtWork: timers.length < open.length,
    nextAt: open.flatMap(({ until }) => until ?? []),
  };
}
