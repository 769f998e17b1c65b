import { GrantRate } from "./grant-rate.ts";
import type { ProcessLoad } from "./process-load.ts";

/** How long a job should wait for its budget in this process: enough that there is always one to spend it. */
const TARGET_WAIT_SECONDS = 0.25;
/** Below this average wait it is not the budget that holds the jobs up. */
const HARDLY_WAITING_MS = 50;
const SMOOTHING = 1 / 8;
/** A busy process still takes as many jobs of each queue. */
const BUSY_CONCURRENCY = 8;
const SHRINK_PER_SECOND = 0.9;
const GROW_PER_SECOND = 1.25;

export interface ConcurrencyControllerOptions {
  /** Most jobs at a time, 1 or more. */
  maxConcurrency: number;
  /** Calls at a time to a provider about which nothing is known yet, 1 or more. */
  firstConcurrency: number;
  load: Pick<ProcessLoad, "isBusy">;
  /** It is called with every new value of `concurrency`, in the midst of the call that changed it. */
  onChange?: (concurrency: number) => void;
  /** The clock, in milliseconds; default `performance.now`. */
  now?: () => number;
}

/**
 * Decides how many jobs of one queue this process has at a time: the least of three numbers.
 *
 * 1. The calls in flight and the wait queue. Under a budget, as many wait as get their turn in 0.25 s at the present rate of
 *    grants (Little's law: J. Little, A Proof for the Queuing Formula L = λW, 1961), at least one job. Calls in flight
 *    are counted, so no latency is estimated: they grow as fast as the fleet's budget grants, and when another process
 *    takes its share they and the wait queue shrink as calls end.
 * 2. The window: the calls that the provider is trusted to bear. Without a budget it starts small and doubles per round
 *    of answers until the first 429, which halves it; then it grows by one per round (slow start, additive increase,
 *    multiplicative decrease: V. Jacobson, Congestion Avoidance and Control, 1988). A budget opens it at once: the
 *    budget is the limit then; a 429 still halves it, and it grows back by an eighth per round.
 * 3. The capacity: what this process keeps up with. While the process is busy and jobs hardly wait for their budget, it
 *    shrinks by a tenth per second; afterwards it grows by a quarter per second.
 *
 * Every `granted` is followed by one of `answered`, `limited` and `unanswered`; an answer that comes in pieces counts for the window when it
 * begins (`began`), since a provider that refuses a call does so before.
 */
export class ConcurrencyController {
  readonly #options: ConcurrencyControllerOptions;
  readonly #now: () => number;
  readonly #grants = new GrantRate();
  #concurrency: number;
  #window: number;
  #capacity: number;
  #inFlight = 0;
  /** Most jobs at a time in this round of answers, and the answers it still has to come. */
  #peakJobs = 0;
  #answersToCome: number;
  #waitMs = 0;
  #limitedAtMs = Number.NEGATIVE_INFINITY;
  #updatedAtMs: number;
  #hasBudget = false;
  #isBlocked = false;

  constructor(options: ConcurrencyControllerOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#window = Math.min(options.firstConcurrency, options.maxConcurrency);
    this.#capacity = options.maxConcurrency;
    this.#concurrency = this.#answersToCome = this.#window;
    this.#updatedAtMs = this.#now();
  }

  /** How many jobs to have at a time from now on: 1 to `maxConcurrency`. */
  get concurrency(): number {
    return this.#concurrency;
  }

  /** Learns whether a budget, configured or learned, governs this queue's calls. */
  knows(hasBudget: boolean): void {
    if (hasBudget === this.#hasBudget) return;
    this.#hasBudget = hasBudget;
    const { maxConcurrency, firstConcurrency } = this.#options;
    this.#window = hasBudget ? maxConcurrency : Math.max(firstConcurrency, this.#inFlight);
    this.#decide();
  }

  /** Counts a job that got its budget after so long in the wait queue, 0 without a wait; its call begins. */
  granted(waitedMs: number): void {
    this.#inFlight += 1;
    this.#peakJobs = Math.max(this.#peakJobs, this.#inFlight);
    this.#waitMs += (waitedMs - this.#waitMs) * SMOOTHING;
    this.#grants.add(this.#now());
    this.#decide();
  }

  /** Counts a call whose answer comes in pieces, of which the first is there: the provider bears the call. */
  began(): void {
    this.#borne();
    this.#decide();
  }

  /** Counts a call that ended with an answer, of any status other than 429. @param hasBegun whether `began` has counted it */
  answered(hasBegun = false): void {
    if (!hasBegun) this.#borne();
    this.#end();
  }

  /** The provider bears a call more. */
  #borne(): void {
    // What was hardly used has not shown that the provider bears it, let alone more.
    const isUsed = 2 * this.#peakJobs >= this.#window;
    if (isUsed && !this.#options.load.isBusy) {
      this.#window = Math.min(this.#options.maxConcurrency, this.#window + this.#growthPerAnswer());
    }
    this.#answersToCome -= 1;
    if (this.#answersToCome < 1) {
      this.#answersToCome = this.#window;
      this.#peakJobs = this.#inFlight;
    }
  }

  /** Counts a call that ended without an answer (timeout, cut connection, abort), or was given up before it was made. */
  unanswered(): void {
    this.#end();
  }

  /**
   * Counts a call that was refused with 429: the window halves, once per round of calls.
   * @param startedAtMs when the call began, on the clock of `now`
   */
  limited(startedAtMs: number): void {
    if (startedAtMs > this.#limitedAtMs) {
      this.#limitedAtMs = this.#now();
      this.#window = Math.max(1, Math.floor(this.#window / 2));
    }
    this.#end();
  }

  /**
   * Leaves one job beside the calls in flight while the circuit breaker is open, to find out when it lets calls through:
   * a probe that hangs must not keep another row from being the next.
   */
  blocked(): void {
    this.#isBlocked = true;
    this.#decide();
  }

  /** Allows as many jobs as before, as the circuit breaker lets calls through. */
  unblocked(): void {
    this.#isBlocked = false;
    this.#decide();
  }

  /** Decides anew. It is called at every job's end, and now and then between, with the jobs that this process has of the queue. */
  update(activeJobs: number): void {
    this.#peakJobs = Math.max(this.#peakJobs, activeJobs);
    this.#inFlight = Math.min(this.#inFlight, activeJobs);
    this.#adaptCapacity();
    this.#decide();
  }

  #end(): void {
    this.#inFlight = Math.max(0, this.#inFlight - 1);
    this.#decide();
  }

  #growthPerAnswer(): number {
    if (this.#limitedAtMs === Number.NEGATIVE_INFINITY) return 1;
    const perRound = this.#hasBudget ? Math.max(1, this.#window / 8) : 1;
    return perRound / this.#window;
  }

  #adaptCapacity(): void {
    const now = this.#now();
    // However long ago the last look was, the process is known to have been busy for the last second only.
    const seconds = Math.min(1, (now - this.#updatedAtMs) / 1000);
    this.#updatedAtMs = now;
    const { load, maxConcurrency } = this.#options;
    if (!load.isBusy) {
      this.#capacity = Math.min(maxConcurrency, this.#capacity * GROW_PER_SECOND ** seconds);
    } else if (this.#waitMs < HARDLY_WAITING_MS) {
      const shrunk = Math.min(this.#capacity, this.#concurrency + 1) * SHRINK_PER_SECOND ** seconds;
      this.#capacity = Math.min(maxConcurrency, Math.max(BUSY_CONCURRENCY, shrunk));
    }
  }

  #decide(): void {
    const queued = this.#hasBudget ? this.#inFlight + this.#waitQueueLength() : Number.POSITIVE_INFINITY;
    const least = Math.floor(Math.min(queued, this.#window, this.#capacity));
    const concurrency = this.#isBlocked ? this.#inFlight + 1 : Math.max(1, least);
    if (concurrency === this.#concurrency) return;
    this.#concurrency = concurrency;
    this.#options.onChange?.(concurrency);
  }

  #waitQueueLength(): number {
    return Math.max(1, Math.ceil(this.#grants.perSecond(this.#now()) * TARGET_WAIT_SECONDS));
  }
}
