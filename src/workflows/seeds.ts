import { sha256 } from "../shared/digest.ts";
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

  /** Returns a number from 0 to below 1, the same one for the same name. */
  random(name: string): number {
    return Number.parseInt(this.#drawn(name).slice(0, 12), 16) / 2 ** 48;
  }

  /** Returns a UUID of version 4, the same one for the same name. */
  uuid(name: string): string {
    const hex = this.#drawn(name);
    const variant = ((Number.parseInt(hex[16] ?? "0", 16) & 3) | 8).toString(16);
    const parts = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`];
    return [...parts, `${variant}${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
  }

  #drawn(name: string): string {
    return sha256(`${this.current}\n${name}`);
  }
}
