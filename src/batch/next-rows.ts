import type { ProducerQueues } from "../producers/queues.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { askJobTimes, jobTimes } from "../store/bullmq-internals.ts";
import type { Store } from "../store/store.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { IndexRow } from "./index-row.ts";
import type { RowJobs } from "./row-jobs.ts";
import { SendOrder } from "./send-order.ts";
import type { Window } from "./window.ts";

/** Jobs per `addBulk`: more would block the event loop and Redis for too long. */
export const MAX_ADD = 500;
/** Rows of all models that are read ahead, of files whose prompts are long enough for a provider's cache. */
const LOOK_AHEAD = 10_000;
/** Rows that wait in the queue while beginnings are new: more would make the time long between rows that begin alike. */
const MAX_WAITING = 100;

interface NextRowsOptions {
  store: Store;
  queues: ProducerQueues;
  index: DiskIndex;
  jobs: RowJobs;
  /** The ids of the only rows that are sent; absent: all. */
  drawn?: readonly string[] | undefined;
}

/** Finds the rows of a batch that are to be sent next: in the order of the input, or where prompts are long, as `SendOrder` says. */
export class NextRows {
  readonly #options: NextRowsOptions;
  readonly #orders = new Map<Window, SendOrder>();

  constructor(options: NextRowsOptions) {
    this.#options = options;
  }

  /** Rows that were passed over are looked at again. */
  rescan(window: Window): void {
    window.rescan();
    this.#orders.get(window)?.clear();
  }

  /** Returns how many rows have no result that are to have one, of a model or of all. */
  missing(model?: ModelRef): number {
    const { index } = this.#options;
    const drawn = this.#drawn();
    if (drawn) return drawn.filter((row) => !model || row.model?.key === model.key).length;
    const counts = index.counts();
    return (model ? counts.models.get(model.key)?.missing : counts.missing) ?? 0;
  }

  /**
   * Takes rows that a window has room for; none: nothing is to be sent now.
   * @param isFree whether a row is to be sent: it is not in flight, and no provider batch has it or may get it
   * @param isScanned whether all rows of the input are known
   */
  async take(
    window: Window,
    { isFree, isScanned }: { isFree: (id: string) => boolean; isScanned: boolean },
  ): Promise<readonly IndexRow[]> {
    const drawn = this.#drawn();
    if (drawn) {
      const own = drawn.filter(({ id, model }) => model?.key === window.model.key && isFree(id));
      return window.fitting(own.slice(0, Math.min(window.room, MAX_ADD)));
    }
    const order = this.#orders.get(window);
    if (order && order.size > 0) return this.#takeOrdered(window, order, { isFree, isScanned });
    const { index } = this.#options;
    while (!window.exhausted && window.room >= Math.min(MAX_ADD, window.rows.size)) {
      const room = Math.min(window.room, MAX_ADD);
      const missing = room > 0 ? index.nextMissing(window.model.key, window.cursor, room) : [];
      if (room > 0 && missing.length === 0) window.exhausted = isScanned;
      if (missing.length === 0) break;
      if (missing.some(({ beginnings }) => beginnings)) {
        const begun = order ?? new SendOrder();
        this.#orders.set(window, begun);
        return this.#takeOrdered(window, begun, { isFree, isScanned });
      }
      const free = missing.filter(({ id }) => isFree(id));
      const rows = window.fitting(free);
      window.cursor = (rows.length < free.length ? rows : missing).at(-1)?.line ?? window.cursor;
      if (rows.length > 0) return rows;
    }
    return [];
  }

  /** Returns the rows of the sample that have no result yet; undefined where all rows are sent. */
  #drawn(): IndexRow[] | undefined {
    const { index, drawn } = this.#options;
    return drawn?.flatMap((id) => index.find(id) ?? []).filter(({ state }) => state === "missing");
  }

  async #takeOrdered(
    window: Window,
    order: SendOrder,
    rule: { isFree: (id: string) => boolean; isScanned: boolean },
  ): Promise<readonly IndexRow[]> {
    this.#readAhead(window, order, rule);
    const room = Math.min(window.room, MAX_ADD);
    if (room <= 0) return [];
    await order.settle(
      (id) => window.rows.has(this.#options.jobs.jobIdOf(id)),
      (ids) => this.#begun(window, ids),
    );
    const fresh = Math.max(0, MAX_WAITING - (await this.#waiting(window)));
    // A row that was read a while ago may have its answer by now, of a provider batch.
    const isToSend = ({ id }: IndexRow) =>
      rule.isFree(id) && this.#options.index.find(id)?.state === "missing";
    const taken = order.next(room, fresh, isToSend);
    const rows = window.fitting(taken);
    order.putBack(taken.slice(rows.length));
    return rows;
  }

  #readAhead(
    window: Window,
    order: SendOrder,
    { isFree, isScanned }: { isFree: (id: string) => boolean; isScanned: boolean },
  ): void {
    const most = Math.max(MAX_ADD, LOOK_AHEAD / this.#orders.size);
    let left = order.size > most / 2 ? 0 : most - order.size;
    while (left > 0 && !window.exhausted) {
      const missing = this.#options.index.nextMissing(window.model.key, window.cursor, MAX_ADD);
      if (missing.length === 0) window.exhausted = isScanned;
      if (missing.length === 0) break;
      const free = missing.filter(({ id }) => isFree(id));
      order.add(free);
      left -= free.length;
      window.cursor = missing.at(-1)?.line ?? window.cursor;
    }
  }

  /** Returns how many of a window's rows no worker has taken, at most. */
  async #waiting(window: Window): Promise<number> {
    const queue = await this.#options.queues.of(window.model);
    // Other batches' rows may wait there too.
    return Math.min(window.rows.size, await queue.getJobCountByTypes("prioritized", "waiting"));
  }

  async #begun(window: Window, ids: readonly string[]): Promise<ReadonlySet<string>> {
    const { store } = this.#options;
    const pipeline = store.redis.pipeline();
    for (const id of ids) askJobTimes(pipeline, store, window.queue, this.#options.jobs.jobIdOf(id));
    const replies = (await pipeline.exec()) ?? [];
    return new Set(ids.filter((_, at) => jobTimes(replies[at]?.[1] ?? [])?.startedAt !== undefined));
  }
}
