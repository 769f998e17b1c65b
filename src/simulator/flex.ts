import { sha256 } from "../shared/digest.ts";
import { shareOf } from "./request-hash.ts";

/** OpenAI's flex processing: calls at half the price, while there is room. */
export class Flex {
  /** The share of calls that find no room. */
  refusedShare: number;
  readonly #seed: number;
  #calls = 0;

  constructor(refusedShare: number, seed: number) {
    this.refusedShare = refusedShare;
    this.#seed = seed;
  }

  /** Returns whether the next call finds room. */
  hasRoom(): boolean {
    return shareOf(sha256(`flex:${this.#seed}:${++this.#calls}`)) >= this.refusedShare;
  }
}
