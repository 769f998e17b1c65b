import type { LaneBuy } from "../../store/lane-buy.ts";
import type { DiskIndex } from "../disk-index.ts";
import type { IndexRow } from "../index-row.ts";
import type { RowJobs } from "../row-jobs.ts";

/** A row that a provider batch failed so often goes online. */
const MAX_TRIES = 2;

/** Where each row of a batch is that has to do with lanes. Rows go by their job ids. */
export class LaneRows {
  readonly #jobs: RowJobs;
  readonly #index: DiskIndex;
  /** Row → the buy that has it; until its result is safe in the file. */
  readonly #bought = new Map<string, string>();
  /** Those that no provider batch may take. */
  readonly #online = new Set<string>();
  /** Those that are being taken: nobody sends them online meanwhile. */
  readonly #taking = new Set<string>();
  /** By row: the buys that failed it. */
  readonly #tries = new Map<string, Set<string>>();
  /** Counts the changes after which rows may go online that could not before. */
  freed = 0;

  constructor(jobs: RowJobs, index: DiskIndex) {
    this.#jobs = jobs;
    this.#index = index;
  }

  get size(): number {
    return this.#bought.size;
  }

  jobIdOf({ id }: Pick<IndexRow, "id">): string {
    return this.#jobs.jobIdOf(id);
  }

  /** Whether a provider batch has the row, or is about to. */
  isHeld(jobId: string): boolean {
    return this.#bought.has(jobId) || this.#taking.has(jobId);
  }

  isOnline(jobId: string): boolean {
    return this.#online.has(jobId);
  }

  /** Begins to take a row. False when it is not to be had; what was missing when its page was read may be done by now. */
  take(row: IndexRow, inFlight: ReadonlyMap<string, unknown>): boolean {
    const jobId = this.jobIdOf(row);
    if (this.isHeld(jobId) || this.isOnline(jobId) || inFlight.has(jobId)) return false;
    if (this.#index.find(row.id)?.state !== "missing") return false;
    this.#taking.add(jobId);
    return true;
  }

  /** Ends the taking: what was not bought is free again. */
  endTaking(): void {
    if (this.#taking.size === 0) return;
    this.#taking.clear();
    this.freed += 1;
  }

  /** The row is left to the next group. */
  leave(row: IndexRow): void {
    this.#taking.delete(this.jobIdOf(row));
  }

  bought(jobId: string, buyId: string): void {
    this.#bought.set(jobId, buyId);
  }

  /** The row is for single calls alone. */
  goesOnline(jobId: string): void {
    this.#online.add(jobId);
    this.freed += 1;
  }

  /** The row is being sent online. */
  sent(jobIds: readonly string[]): void {
    for (const jobId of jobIds) this.#online.add(jobId);
  }

  /** A provider batch answered the row with a fault that another try may not bring. */
  failed(jobId: string, buyId: string): void {
    this.#tries.set(jobId, (this.#tries.get(jobId) ?? new Set()).add(buyId));
  }

  /** The row's result is safe in the file. */
  forget(jobId: string): void {
    this.#bought.delete(jobId);
    this.#online.delete(jobId);
    this.#tries.delete(jobId);
  }

  /** Gives rows of a buy back that it brought nothing for. */
  release(jobIds: readonly string[]): void {
    for (const jobId of jobIds) {
      this.#bought.delete(jobId);
      if ((this.#tries.get(jobId)?.size ?? 0) >= MAX_TRIES) this.#online.add(jobId);
    }
    this.freed += 1;
  }

  /** Returns the rows of a buy in the order of the input. */
  of(buy: LaneBuy): { jobId: string; row: IndexRow }[] {
    const rows = [...this.#bought].flatMap(([jobId, owner]) => {
      if (owner !== buy.id) return [];
      const row = this.#index.find(this.#jobs.rowIdOf(jobId));
      return row ? [{ jobId, row }] : [];
    });
    return rows.sort((a, b) => a.row.line - b.row.line);
  }
}
