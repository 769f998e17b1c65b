import { type ErrorRecord, errorRecordSchema, fromErrorRecord, toErrorRecord } from "./error-record.ts";
import { GlueError, InputError } from "./errors.ts";

/*
 * Values as JSON that keeps their types. What JSON can say stays as it is; the rest is `{"$t": "<type>", "v": …}`, and an
 * object of somebody's own that has a key `$t` is wrapped so that it cannot be taken for such.
 */

const TAG = "$t";
/** The deepest value: deeper ones would overflow the stack of whoever reads them. */
const MAX_DEPTH = 500;
const MAX_CAUSES = 8;

/** A value as JSON. */
export interface Encoded {
  json: unknown;
  /** It has tags: who reads it as plain JSON would get something else. */
  isTyped: boolean;
}

interface Options {
  /** An object's undefined field counts as absent. */
  dropsUndefined?: boolean;
  /** Dates and URLs are their texts, as in plain JSON: for digests that were made before there were tags. */
  asText?: boolean;
}

/**
 * Returns a value as JSON that `decode` makes the same value of; undefined stays. Class instances become plain objects, or
 * what their `toJSON` says.
 * @param what names the value in errors
 * @throws InputError (`not_serializable`) naming the place: NaN, an infinite number, a function, symbol, promise or cycle,
 * a key `__proto__`, more than 500 levels
 */
export function encode(value: unknown, what: string, options: Options = {}): Encoded {
  if (value === undefined) return { json: undefined, isTyped: false };
  const writer = new Writer(what, options);
  return { json: writer.write(value, []), isTyped: writer.isTyped };
}

/** Returns the value of what `encode` made. @throws InputError (`not_serializable`) for what it did not make */
export function decode(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(decode);
  if (typeof json !== "object" || json === null) return json;
  const fields = json as Record<string, unknown>;
  return Object.hasOwn(fields, TAG) ? decodeTagged(fields[TAG], fields.v) : decodeFields(fields);
}

/**
 * Returns a value as a JSON text that keeps its type: Date, BigInt, Map, Set, URL, Uint8Array, Error and undefined too.
 * @throws InputError (`not_serializable`) naming the place of what cannot be kept: NaN, a function, a cycle
 */
export function serialize(value: unknown): string {
  return JSON.stringify(value === undefined ? { [TAG]: "undefined" } : encode(value, "the value").json);
}

/** Returns the value that `serialize` made a text of. @throws InputError (`not_serializable`) for another text */
export function deserialize(text: string): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new InputError("the text is not JSON", "give what serialize() returned", "not_serializable");
  }
  return decode(json);
}

class Writer {
  isTyped = false;
  readonly #what: string;
  readonly #options: Options;
  readonly #open = new Set<object>();

  constructor(what: string, options: Options) {
    this.#what = what;
    this.#options = options;
  }

  write(value: unknown, path: readonly string[]): unknown {
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "number":
        return Number.isFinite(value) ? value : this.#refuse(`${value}`, path);
      case "bigint":
        return this.#tag("BigInt", `${value}`);
      case "undefined":
        return this.#tag("undefined");
      case "object":
        return value === null ? null : this.#object(value, path);
      default:
        return this.#refuse(`a ${typeof value}`, path);
    }
  }

  #object(value: object, path: readonly string[]): unknown {
    if (this.#open.has(value)) return this.#refuse("a cycle", path);
    if (path.length > MAX_DEPTH) return this.#refuse(`more than ${MAX_DEPTH} levels`, path.slice(0, 3));
    this.#open.add(value);
    const json = this.#known(value, path) ?? this.#other(value, path);
    this.#open.delete(value);
    return json;
  }

  /** Types that have a tag; undefined for others. */
  #known(value: object, path: readonly string[]): unknown {
    const { asText = false } = this.#options;
    if (Array.isArray(value)) return Array.from(value, (item, i) => this.write(item, [...path, `${i}`]));
    if (value instanceof Date) {
      if (Number.isNaN(value.getTime())) return this.#refuse("an invalid Date", path);
      return asText ? value.toJSON() : this.#tag("Date", value.toJSON());
    }
    if (value instanceof URL) return asText ? value.href : this.#tag("URL", value.href);
    if (value instanceof Uint8Array) return this.#tag("bytes", Buffer.from(value).toString("base64"));
    if (value instanceof Set)
      return this.#tag(
        "Set",
        [...value].map((item, i) => this.write(item, [...path, `${i}`])),
      );
    if (value instanceof Map) {
      const pairs = [...value].map(([key, item], i) => [
        this.write(key, [...path, `key ${i}`]),
        this.write(item, [...path, typeof key === "string" ? key : `${i}`]),
      ]);
      return this.#tag("Map", pairs);
    }
    if (value instanceof GlueError) return this.#tag("GlueError", toErrorRecord(value));
    if (value instanceof Error) return this.#tag("Error", this.#error(value, path));
    return undefined;
  }

  #other(value: object, path: readonly string[]): unknown {
    const given = value as { toJSON?: unknown; then?: unknown };
    if (typeof given.toJSON === "function") return this.write(given.toJSON(path.at(-1) ?? ""), path);
    if (value instanceof Number || value instanceof String || value instanceof Boolean)
      return this.write(value.valueOf(), path);
    const kind = Object.prototype.toString.call(value).slice(8, -1);
    if (REFUSED.test(kind)) return this.#refuse(`a ${kind}`, path);
    const fields = this.#fields(value, path);
    return Object.hasOwn(fields, TAG) ? this.#tag("Object", fields) : fields;
  }

  #fields(value: object, path: readonly string[]): Record<string, unknown> {
    const fields: Record<string, unknown> = {};
    for (const [key, field] of Object.entries(value)) {
      if (key === "__proto__") this.#refuse("a key __proto__", path);
      if (field === undefined && this.#options.dropsUndefined) continue;
      fields[key] = this.write(field, [...path, key]);
    }
    return fields;
  }

  #error(error: Error, path: readonly string[]): Record<string, unknown> {
    const { name, message, stack, code } = error as Error & { code?: unknown };
    const causes = path.filter((part) => part === "cause").length;
    return {
      name,
      message,
      stack,
      ...((typeof code === "string" || typeof code === "number") && { code }),
      ...("cause" in error && causes < MAX_CAUSES && { cause: this.write(error.cause, [...path, "cause"]) }),
      ...(error instanceof AggregateError && { errors: this.write(error.errors, [...path, "errors"]) }),
    };
  }

  #tag(type: string, v?: unknown): Record<string, unknown> {
    this.isTyped = true;
    return v === undefined ? { [TAG]: type } : { [TAG]: type, v };
  }

  #refuse(found: string, path: readonly string[]): never {
    throw new InputError(
      `${this.#what} cannot be kept: ${found}${path.length > 0 ? ` at ${path.join(".")}` : ""}`,
      "give JSON, or Date, BigInt, Map, Set, URL, Uint8Array, Error",
      "not_serializable",
    );
  }
}

/** What would lose all it holds. */
const REFUSED =
  /^(Promise|Weak(Map|Set|Ref)|RegExp|(Shared)?ArrayBuffer|DataView|\w+\dArray|(Async)?Generator)$/;
const ERRORS = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

function decodeTagged(type: unknown, v: unknown): unknown {
  const items = Array.isArray(v) ? v : [];
  switch (type) {
    case "undefined":
      return undefined;
    case "BigInt":
      return BigInt(String(v));
    case "Date":
      return new Date(String(v));
    case "URL":
      return new URL(String(v));
    case "bytes":
      return new Uint8Array(Buffer.from(String(v), "base64"));
    case "Set":
      return new Set(items.map(decode));
    case "Map":
      return new Map(items.map((pair) => decode(pair) as [unknown, unknown]));
    case "GlueError":
      return fromErrorRecord(errorRecordSchema.parse(v) as ErrorRecord);
    case "Error":
      return decodeError(v as StoredForm);
    case "Object":
      return decodeFields(v as Record<string, unknown>);
    default:
      throw new InputError(
        `a kept value has the unknown type "${type}"`,
        "read it with a newer version",
        "not_serializable",
      );
  }
}

function decodeFields(fields: Record<string, unknown>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(fields)) {
    if (key === "__proto__")
      throw new InputError("a kept value has a key __proto__", undefined, "not_serializable");
    found[key] = decode(field);
  }
  return found;
}

interface StoredForm {
  name: string;
  message: string;
  stack?: string;
  code?: string | number;
  cause?: unknown;
  errors?: unknown[];
}

function decodeError({ name, message, stack, code, cause, errors }: StoredForm): Error {
  const options = cause === undefined ? undefined : { cause: decode(cause) };
  const Known = ERRORS[name as keyof typeof ERRORS] ?? Error;
  const error = errors
    ? new AggregateError(errors.map(decode), message, options)
    : new Known(message, options);
  const set = (field: string, value: unknown) =>
    Object.defineProperty(error, field, { value, configurable: true, writable: true });
  if (error.name !== name) set("name", name);
  if (stack !== undefined) set("stack", stack);
  if (code !== undefined) Object.assign(error, { code });
  return error;
}
