import type { ForkPoint } from "../store/run-record.ts";

/** The seed of what a run draws by chance: the one it began with, and from each fork's first step on the fork's own. */
export class Seeds {
  current: string;
  readonly #forks: readonly ForkPoint[];
  #passed = 0;

  constructor(seed: string, forks: readonly ForkPoint[]) {
    this.current = seed;
    this.#forks = forks;
  }

  /**
   * Notes that the function asks for a step. With all but the last of the entries taken over delivered, none is asked
   * for any more that the fork has from its origin.
   */
  onAsk(step: string, seen: number): void {
    for (let i = this.#passed; i < this.#forks.length; i++) {
      const fork = this.#forks[i] as ForkPoint;
      if (step !== fork.fromStep && seen < fork.entries - 1) continue;
      this.#passed = i + 1;
      this.current = fork.seed;
    }
  }
}
