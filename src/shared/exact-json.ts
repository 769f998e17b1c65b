/**
 * A number of a JSON text that `JSON.stringify` would write otherwise (`9007199254740993`, `1.0`, `-0`, `1e400`), or
 * that no double holds. It is written again as it was read. Arithmetic and comparisons (not `===`) see its nearest double.
 */
export class WrittenNumber {
  /** Its JSON text. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** Returns the nearest double; an infinity for what is larger than all of them. */
  valueOf(): number {
    return Number(this.text);
  }

  /** Returns whether its double, written out, is the same number: `1.0` and `1e3`, not `9007199254740993`. */
  get isHeld(): boolean {
    const value = this.valueOf();
    if (Number.isSafeInteger(value) && this.text === String(value)) return true;
    if (!Number.isFinite(value)) return false;
    // The shortest text of a large integer that a double holds is another integer.
    if (/^-?\d+$/.test(this.text)) return BigInt(this.text) === BigInt(value);
    return decimal(this.text) === decimal(String(value));
  }

  toJSON(): unknown {
    return rawJson(this.text);
  }
}

/** TypeScript's library does not know it yet; Node has it from 21 on. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON: (text: string) => unknown };

/** Numbers whose double may be written otherwise: -0, an exponent, a zero at the end, a tiny one, sixteen digits. */
const UNUSUAL_NUMBER =
  /(?:^|[[:,])\s*-?(?:(?<=-)0(?![.\d])|\d+(?:\.\d+)?[eE]|\d+\.\d*0(?!\d)|0\.0000|[\d.]{16})/;
/** Sixteen digits in a row: in a text without them, doubles hold all digits of all numbers. */
export const MANY_DIGITS = /\d[\d.]{15}/;
/** JavaScript puts such keys before all others, in the order of the numbers. */
const INDEX_KEY = /^(?:0|[1-9]\d{0,9})$/;
const INDEX_KEYS = /"(?:0|[1-9]\d{0,9})"\s*:/;
const STRINGS = /"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?/gs;
const MARK = "\u0000key ";
const MARK_JSON = "\\u0000key ";

/**
 * Returns the value of a JSON text, which `JSON.stringify` writes with the same digits and with the keys in the same
 * order. Unusual numbers are `WrittenNumber`; an object whose keys look like numbers is frozen.
 * @throws SyntaxError when it is none; RangeError when it nests too deeply
 */
export function parseExactly(text: string): unknown {
  const hasIndexKeys = INDEX_KEYS.test(text);
  if (!hasIndexKeys && !UNUSUAL_NUMBER.test(text)) return JSON.parse(text);
  // Of a text that is no JSON the error should tell the place in what was given.
  if (hasIndexKeys) JSON.parse(text);
  return JSON.parse(hasIndexKeys ? markIndexKeys(text) : text, revive);
}

/** Returns whether a JSON text is written the same after it was parsed by somebody who knows nothing of this. */
export function survivesParsing(text: string): boolean {
  return JSON.stringify(JSON.parse(text)) === text;
}

/** Returns the plain number; undefined and null stay. */
export function toDouble(value: number | WrittenNumber | null | undefined): number | undefined {
  return value == null ? undefined : value.valueOf();
}

function revive(_key: string, value: unknown, context?: { source: string }): unknown {
  if (typeof value === "number" && context) {
    const written = new WrittenNumber(context.source);
    return JSON.stringify(value) === written.text && written.isHeld ? value : written;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.keys(value).some((key) => key.startsWith(MARK)) ? inOrder(Object.entries(value)) : value;
}

function markIndexKeys(text: string): string {
  return text.replace(STRINGS, (string, inner: string, colon: string | undefined) =>
    colon && INDEX_KEY.test(inner) ? `"${MARK_JSON}${inner}"${colon}` : string,
  );
}

/** An object with keys in the order given: a proxy where JavaScript has another one. */
function inOrder(entries: readonly [string, unknown][]): object {
  const pairs = entries.map(([key, value]) => [key.startsWith(MARK) ? key.slice(MARK.length) : key, value]);
  const object = Object.freeze(Object.fromEntries(pairs)) as object;
  const keys = pairs.map(([key]) => key as string);
  const isUsual = Object.keys(object).every((key, i) => key === keys[i]);
  return isUsual ? object : new Proxy(object, { ownKeys: () => keys });
}

/** The number as its digits and the power of ten of the last one, without zeros around them. */
function decimal(text: string): string {
  const [, sign = "", whole = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const kept = digits.replace(/0+$/, "");
  if (kept === "") return "0";
  return `${sign}${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`;
}
