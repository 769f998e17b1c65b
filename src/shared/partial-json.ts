/**
 * Returns the value that the beginning of a JSON text says so far: what is open is closed, and what has no value yet is left
 * out. A text that is open is as long as it came; a number counts once something follows it.
 * @returns undefined when there is no value yet
 */
export function partialJson(text: string): unknown {
  try {
    return new Beginning(text).value();
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Stands for a value that has not come. */
const NOTHING = Symbol("nothing");
type Value = unknown | typeof NOTHING;

const LITERALS = { t: "true", f: "false", n: "null" } as const;
const MAX_DEPTH = 200;

class Beginning {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): unknown {
    const value = this.#value();
    return value === NOTHING ? undefined : value;
  }

  #value(): Value {
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === undefined) return NOTHING;
    if (char === "{" || char === "[") return this.#nested(char);
    if (char === '"') return this.#string();
    if (char in LITERALS) return this.#literal(LITERALS[char as keyof typeof LITERALS]);
    return this.#number();
  }

  #nested(char: "{" | "["): Value {
    if (++this.#depth > MAX_DEPTH) throw new SyntaxError("too deep");
    this.#at++;
    const value = char === "{" ? this.#object() : this.#list();
    this.#depth--;
    return value;
  }

  #object(): Record<string, unknown> {
    const fields: [string, unknown][] = [];
    while (this.#next("}")) {
      const { isOpen, text: key } = this.#quoted();
      this.#skipSpace();
      if (isOpen || this.#text[this.#at] !== ":") break;
      this.#at++;
      const value = this.#value();
      if (value === NOTHING) break;
      fields.push([key, value]);
    }
    return Object.fromEntries(fields);
  }

  #list(): unknown[] {
    const items: unknown[] = [];
    while (this.#next("]")) {
      const value = this.#value();
      if (value === NOTHING) break;
      items.push(value);
    }
    return items;
  }

  /** Whether a further member follows; passes its comma, or the end. */
  #next(end: "}" | "]"): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] === ",") this.#at++;
    this.#skipSpace();
    const char = this.#text[this.#at];
    if (char === end) this.#at++;
    return char !== undefined && char !== end;
  }

  #string(): string {
    return this.#quoted().text;
  }

  #quoted(): { text: string; isOpen: boolean } {
    if (this.#text[this.#at] !== '"') throw new SyntaxError("no text");
    const from = this.#at++;
    for (; this.#at < this.#text.length; this.#at++) {
      const char = this.#text[this.#at];
      if (char === "\\") this.#at++;
      else if (char === '"') {
        this.#at++;
        return { text: JSON.parse(this.#text.slice(from, this.#at)) as string, isOpen: false };
      }
    }
    // An escape may be cut, and so may be a pair of surrogates.
    const whole = this.#text.slice(from).replace(/(?<=[^\\])((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$/, "$1");
    const text = JSON.parse(`${whole}"`) as string;
    return { text: text.replace(/[\ud800-\udbff]$/, ""), isOpen: true };
  }

  #literal(word: string): Value {
    const rest = this.#text.slice(this.#at, this.#at + word.length);
    if (!word.startsWith(rest)) throw new SyntaxError("no literal");
    this.#at += rest.length;
    return rest === word ? (JSON.parse(word) as unknown) : NOTHING;
  }

  #number(): Value {
    const [digits = ""] = /^-?[0-9.eE+-]*/.exec(this.#text.slice(this.#at, this.#at + 400)) ?? [];
    if (digits === "") throw new SyntaxError("no value");
    this.#at += digits.length;
    return this.#at === this.#text.length ? NOTHING : (JSON.parse(digits) as unknown);
  }

  #skipSpace(): void {
    while (/[ \t\n\r]/.test(this.#text[this.#at] ?? "")) this.#at++;
  }
}
