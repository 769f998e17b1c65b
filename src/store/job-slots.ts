/**
 * The slots of one queue's jobs in this process. A job that was taken has one, but while it does work of its own; then it
 * waits for a free one, before any new job is taken.
 */
export class JobSlots {
  readonly #onChange: (jobs: number) => void;
  #size: number;
  #held = 0;
  #outside = 0;
  /** Those that are back from their own work, the earliest first. */
  readonly #returning = new Set<() => void>();

  /** @param onChange is told how many jobs the process may have, those without a slot included */
  constructor(size: number, onChange: (jobs: number) => void) {
    this.#size = size;
    this.#onChange = onChange;
  }

  set size(size: number) {
    this.#size = size;
    this.#changed();
  }

  get held(): number {
    return this.#held;
  }

  /** A job was taken. */
  take(): void {
    this.#held += 1;
  }

  /** A job has ended. */
  release(): void {
    this.#held -= 1;
    this.#changed();
  }

  /** Does a job's own work without its slot, and returns once the job has a slot again. @throws the signal's reason */
  async without<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    this.#held -= 1;
    this.#outside += 1;
    this.#changed();
    const result = await work().catch((error) => {
      // The job ends now.
      this.#comeBack();
      throw error;
    });
    await this.#untilFree(signal);
    return result;
  }

  #comeBack(): void {
    this.#outside -= 1;
    this.#held += 1;
    this.#changed();
  }

  async #untilFree(signal: AbortSignal): Promise<void> {
    const { promise: free, resolve: enter } = Promise.withResolvers<void>();
    this.#outside -= 1;
    this.#returning.add(enter);
    this.#changed();
    const abort = () => {
      if (!this.#returning.delete(enter)) return;
      this.#held += 1;
      enter();
    };
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    await free;
    signal.removeEventListener("abort", abort);
    signal.throwIfAborted();
  }

  #changed(): void {
    for (const enter of this.#returning) {
      if (this.#held >= this.#size) break;
      this.#returning.delete(enter);
      this.#held += 1;
      enter();
    }
    // Those that are back come before new jobs: they do not raise the number.
    this.#onChange(this.#size + this.#outside);
  }
}
