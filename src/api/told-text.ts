/**
 * The text of one turn as a client was told it. When a worker is lost the answer is produced once more: what is the same is not
 * told again, and what is not cannot be taken back.
 */
export class ToldText {
  #told = "";
  #fresh = "";

  /** Returns what is new of the next piece; undefined when it contradicts what was told. */
  take(piece: string): string | undefined {
    this.#fresh += piece;
    if (this.#fresh.length <= this.#told.length) return this.#told.startsWith(this.#fresh) ? "" : undefined;
    if (!this.#fresh.startsWith(this.#told)) return undefined;
    const added = this.#fresh.slice(this.#told.length);
    this.#told = this.#fresh;
    return added;
  }

  /** The answer begins anew. */
  restart(): void {
    this.#fresh = "";
  }

  get text(): string {
    return this.#told;
  }
}
