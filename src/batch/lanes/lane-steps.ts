import type { Logger } from "../../shared/logger.ts";
import type { LaneBuy } from "../../store/lane-buy.ts";
import type { LaneLadder } from "./lane-ladder.ts";

const FAULT_DELAY_MS = 10_000;

/** What a buy does now, beside what its record says. */
interface Progress {
  step: Promise<void> | undefined;
  /** By the clock of the process, which nobody moves. */
  notBeforeMs: number;
}

/** Takes buys up their ladder, one step of each at a time. */
export class LaneSteps {
  readonly #ladder: LaneLadder;
  readonly #logger: Logger;
  readonly #pollMs: number;
  readonly #progress = new Map<string, Progress>();

  constructor(ladder: LaneLadder, logger: Logger, pollMs: number) {
    this.#ladder = ladder;
    this.#logger = logger;
    this.#pollMs = pollMs;
  }

  /** Begins the next step of a buy, unless one is under way or it is too early. */
  go(buy: LaneBuy): void {
    const progress = this.#progress.get(buy.id) ?? { step: undefined, notBeforeMs: 0 };
    this.#progress.set(buy.id, progress);
    if (progress.step !== undefined || performance.now() < progress.notBeforeMs) return;
    progress.step = this.#ladder
      .step(buy)
      .catch(({ message }: Error) => {
        this.#logger.warn({ buy: buy.id, fault: message }, "a provider batch has to wait");
        return Math.min(FAULT_DELAY_MS, this.#pollMs);
      })
      .then((waitMs) => {
        progress.notBeforeMs = performance.now() + waitMs;
        progress.step = undefined;
      });
  }

  /** The buy is over. */
  forget(buyId: string): void {
    this.#progress.delete(buyId);
  }

  /** Waits for the steps that are under way. */
  async settle(): Promise<void> {
    await Promise.all([...this.#progress.values()].map(({ step }) => step));
  }
}
