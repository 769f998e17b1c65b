import { inspect } from "node:util";

/** Holds a key so that logging, JSON and inspection show `[redacted]`; only `reveal()` gives it away. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return "[redacted]";
  }

  toJSON(): string {
    return "[redacted]";
  }

  [inspect.custom](): string {
    return "[redacted]";
  }
}

export function optionalSecret(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}
