/**
 * What has to be closed again, in the order in which it was opened: the last one first. It is what `AsyncDisposableStack`
 * is, which Node.js 22 does not have.
 */
export class CloseStack implements AsyncDisposable {
  #closers: (() => unknown)[] = [];

  /** Adds what is called at the end. */
  defer(close: () => unknown): void {
    this.#closers.push(close);
  }

  /** Adds what is disposed of at the end, and returns it. */
  use<T extends AsyncDisposable>(part: T): T {
    this.defer(() => part[Symbol.asyncDispose]());
    return part;
  }

  /** Returns a stack that has all of it; this one closes nothing any more. */
  move(): CloseStack {
    const moved = new CloseStack();
    moved.#closers = this.#closers;
    this.#closers = [];
    return moved;
  }

  /** Closes everything, and then throws the first error of what could not be closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
