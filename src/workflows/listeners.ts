type Reaction = ((value: unknown) => unknown) | null | undefined;

/** Reactions that have been called. A race gives all its promises the same ones: once called, it is decided. */
const called = new WeakSet<object>();

/** Who listens to a step's promise last: with plain `Promise.race`, this tells whether the step lost its race. */
export class Listeners {
  #last: Reaction[] = [];

  add(...reactions: Reaction[]): void {
    this.#last = reactions;
  }

  /** True when the last that listened to the promise, or to one made of it by `then`, has had its answer from another. */
  get haveLost(): boolean {
    return this.#last.some((reaction) => reaction && called.has(reaction));
  }
}

/**
 * Returns the promise, told who listens to it. `await` is no listener by this count, nor is an async function that awaits
 * it: neither can be seen.
 */
function watched<T>(promise: Promise<T>, listeners: Listeners): Promise<T> {
  // A rejection that its branch looks at later must not end the process meanwhile.
  promise.catch(() => {});
  const then = (onFulfilled?: Reaction, onRejected?: Reaction) => {
    listeners.add(onFulfilled, onRejected);
    const next = Promise.prototype.then.call(promise, noted(onFulfilled), noted(onRejected));
    return watched(next as Promise<unknown>, listeners);
  };
  // biome-ignore lint/suspicious/noThenProperty: it is a promise.
  return Object.defineProperty(promise, "then", { value: then, configurable: true, writable: true });
}

function noted(reaction: Reaction): Reaction {
  if (typeof reaction !== "function") return reaction;
  return (value) => {
    called.add(reaction);
    return reaction(value);
  };
}

/** A step's promise, and who listens to it. */
export function step<T>(work: (listeners: Listeners) => Promise<T>): Promise<T> {
  const listeners = new Listeners();
  return watched(work(listeners), listeners);
}

/** What a step has beside its question. */
export interface Asking {
  subject?: string;
  signal?: AbortSignal | undefined;
  listeners: Listeners;
}
