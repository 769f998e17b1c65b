import { isObject } from "../shared/json.ts";
import { RowFault } from "./row-fault.ts";

/** The fields of an object, taken one by one; what nobody took is refused by its name, never dropped. */
export class LineFields {
  readonly #fields: Map<string, unknown>;
  readonly path: string;

  /** @throws RowFault when it is no object */
  constructor(value: unknown, path: string) {
    if (!isObject(value)) throw new RowFault("invalid_request", `${path} is not an object`);
    this.path = path;
    this.#fields = new Map(Object.entries(value).filter(([, field]) => field != null));
  }

  /** Returns the first of these fields that is there; null is as good as absent. */
  take(...names: string[]): unknown {
    let found: unknown;
    for (const name of names) {
      found ??= this.#fields.get(name);
      this.#fields.delete(name);
    }
    return found;
  }

  /** @throws RowFault when it is there and no text */
  text(...names: string[]): string | undefined {
    const value = this.take(...names);
    if (value === undefined || typeof value === "string") return value;
    throw new RowFault("invalid_request", `${this.path}.${names[0]} is not a text`);
  }

  /** @throws RowFault when it is there and no list */
  list(...names: string[]): unknown[] | undefined {
    const value = this.take(...names);
    if (value === undefined || Array.isArray(value)) return value;
    throw new RowFault("invalid_request", `${this.path}.${names[0]} is not a list`);
  }

  /** An object within; empty when it is absent. */
  inner(...names: string[]): LineFields {
    return new LineFields(this.take(...names) ?? {}, `${this.path}.${names[0]}`);
  }

  /** Passes fields over that say only what holds anyway. */
  ignore(usual: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(usual))
      if (JSON.stringify(this.#fields.get(name)) === JSON.stringify(value)) this.#fields.delete(name);
  }

  /** Returns those of these fields that are there, as they are. */
  pass(...names: string[]): Record<string, unknown> {
    const there = names.filter((name) => this.#fields.has(name));
    return Object.fromEntries(there.map((name) => [name, this.take(name)]));
  }

  /** @throws RowFault when something was not taken */
  end(): void {
    const [name] = this.#fields.keys();
    if (name !== undefined) throw cannotTranslate(`${this.path}.${name}`);
  }
}

export function cannotTranslate(what: string): RowFault {
  return new RowFault(
    "cannot_translate",
    `${what} has no counterpart in a chat request`,
    "leave it out, or write the row as a line of /v1/chat/completions",
  );
}

/** Without the fields that are absent. */
export function present(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
