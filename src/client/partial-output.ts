import { type OutputSchema, toOutputSpec } from "../calls/output-schema.ts";
import { isObject } from "../shared/json.ts";
import { partialJson } from "../shared/partial-json.ts";
import type { StreamEvent } from "../shared/stream-events.ts";

/** By how much a long answer has grown before it is read again. */
const GROWTH = 1.01;

/** Reads a structured answer while it streams. */
export class PartialOutput {
  readonly #name: string;
  readonly #isWrapped: boolean;
  /** The calls of the turn that are the answer, in output mode `tool`. */
  readonly #answers = new Set<number>();
  #text = "";
  #readLength = 0;
  #last = "";

  constructor(schema: OutputSchema, name: string | undefined) {
    const spec = toOutputSpec(schema, { name });
    this.#name = spec.name;
    this.#isWrapped = spec.wrapped;
  }

  /** Returns the answer so far when the event brought more of it; undefined when it did not. */
  take(event: StreamEvent): unknown {
    if (event.type === "turn" || event.type === "restart") this.#begin();
    else if (event.type === "text") return this.#add(event.text);
    else if (event.type === "toolCall") {
      if (event.name === this.#name) {
        this.#begin();
        this.#answers.add(event.index);
      }
      if (this.#answers.has(event.index)) return this.#add(event.arguments);
    }
    return undefined;
  }

  #begin(): void {
    this.#answers.clear();
    this.#text = "";
    this.#readLength = 0;
    this.#last = "";
  }

  #add(piece: string): unknown {
    this.#text += piece;
    const from = this.#text.indexOf("{");
    if (from < 0 || this.#text.length < this.#readLength * GROWTH) return undefined;
    this.#readLength = this.#text.length;
    const whole = partialJson(this.#text.slice(from));
    const value = this.#isWrapped && isObject(whole) ? whole.value : whole;
    const json = JSON.stringify(value);
    if (json === undefined || json === this.#last) return undefined;
    this.#last = json;
    return value;
  }
}
