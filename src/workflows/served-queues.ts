import { CLOSE_MS, within } from "../shared/within.ts";
import { hasJobs, queuesWithJobs } from "../store/bullmq-internals.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { JobLoop } from "../store/job-loop.ts";

const FOLLOW_MS = 1000;
/** A queue whose jobs have all ended or sleep is let go after so long, and taken up again when one is there. */
const IDLE_MS = 10 * 60_000;

/** The queues that a process serves, each with a job loop while it has jobs. */
export class ServedQueues {
  readonly #store: ConnectedStore;
  readonly #names: ReadonlySet<string>;
  readonly #openLoop: (queue: string) => JobLoop;
  readonly #loops = new Map<string, JobLoop>();
  readonly #listening: Promise<Disposable>;
  readonly #timer: NodeJS.Timeout;
  #following: Promise<void> | undefined;
  #isClosing = false;

  constructor(store: ConnectedStore, names: Iterable<string>, openLoop: (queue: string) => JobLoop) {
    this.#store = store;
    this.#names = new Set(names);
    this.#openLoop = openLoop;
    this.#listening = store.notifier.listen({ queue: (name) => this.#open(name) });
    this.#follow(true);
    this.#timer = setInterval(() => this.#follow(false), FOLLOW_MS).unref();
  }

  /** Aborts the job's signal, when this process has it. */
  abort(jobId: string): void {
    for (const loop of this.#loops.values()) loop.abort(jobId, "cancelled");
  }

  /** Opens the queues that have jobs to be taken, and lets those go that had none for long; one look at a time. */
  #follow(asleep: boolean): void {
    this.#following ??= this.#followOnce(asleep)
      // While Redis is away there is nothing to follow.
      .catch(() => {})
      .finally(() => {
        this.#following = undefined;
      });
  }

  async #followOnce(asleep: boolean): Promise<void> {
    const closed = [...this.#names].filter((queue) => !this.#loops.has(queue));
    for (const queue of await queuesWithJobs(this.#store, closed, { asleep })) this.#open(queue);
    for (const [queue, loop] of this.#loops) {
      if (loop.idleMs <= IDLE_MS || (await hasJobs(this.#store, queue))) continue;
      this.#loops.delete(queue);
      await loop.close(0);
    }
  }

  #open(queue: string): void {
    if (this.#isClosing || !this.#names.has(queue) || this.#loops.has(queue)) return;
    this.#loops.set(queue, this.#openLoop(queue));
  }

  /** Takes no more jobs; those at work have `drainMs`, then they go back. */
  async close(drainMs: number): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#timer);
    await within(
      CLOSE_MS,
      this.#listening.then((listener) => listener[Symbol.dispose]()),
    );
    await within(CLOSE_MS, this.#following ?? Promise.resolve());
    await Promise.all([...this.#loops.values()].map((loop) => loop.close(drainMs)));
  }
}
