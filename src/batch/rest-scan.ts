import { setTimeout as delay } from "node:timers/promises";
import { GlueError, InputError } from "../shared/errors.ts";
import type { InputScan } from "./scan-input.ts";

const SLICE_ROWS = 1000;

/**
 * The scan of the rest of a large input beside the sending of its rows. It takes half of the time at most, so that answers
 * are taken meanwhile.
 */
export class RestScan {
  /** What stopped it: rows after that place are not known. */
  fault: GlueError | undefined;
  readonly #scan: InputScan;
  readonly #onRows: () => void;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(scan: InputScan, onRows: () => void) {
    this.#scan = scan;
    this.#onRows = onRows;
  }

  get isComplete(): boolean {
    return this.#scan.isComplete;
  }

  /** Begins, once. */
  start(): void {
    if (!this.isComplete) this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (!this.isComplete && !this.#isStopped) {
        const startedAt = performance.now();
        await this.#scan.run(SLICE_ROWS);
        this.#onRows();
        await delay(performance.now() - startedAt);
      }
    } catch (error) {
      this.fault = error instanceof GlueError ? error : new InputError(String(error));
      this.#onRows();
    }
  }
}
