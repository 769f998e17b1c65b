import { createRequire } from "node:module";
import type { Ajv2020, ErrorObject, Options } from "ajv/dist/2020.js";
import { LRUCache } from "lru-cache";
import { z } from "zod";
import { sha256 } from "./digest.ts";
import { InvalidRequestError } from "./errors.ts";
import { interruptible } from "./interruptible.ts";
import type { JsonSchema } from "./json-schema.ts";

/** Returns what a value violates; an empty list when it fits. */
export type CheckValue = (value: unknown) => readonly ErrorObject[];

const MAX_COMPILED = 200;
/** On a busy machine an honest schema takes seconds. */
const MAX_COMPILE_MS = 15_000;
const MAX_CHECK_MS = 1000;

/**
 * A format is checked as loosely as anybody writes it, since zod adds its own stricter pattern. Unknown formats pass, as
 * the draft has it.
 */
const FORMATS: Options["formats"] = {
  date: fits(z.iso.date()),
  "date-time": fits(z.iso.datetime({ offset: true, local: true })),
  duration: fits(z.iso.duration()),
  email: /^[^\s@]+@[^\s@]+$/,
  ipv4: fits(z.ipv4()),
  ipv6: fits(z.ipv6()),
  uri: (text) => URL.canParse(text),
  uuid: fits(z.guid()),
};

type MakeRegExp = NonNullable<NonNullable<Options["code"]>["regExp"]>;

const UNICODE: MakeRegExp = regExpIn("u", "");
const AS_ZOD: MakeRegExp = regExpIn("", "u");

/** Escapes such as \- are patterns too, only not with the flag u. */
function regExpIn(flags: string, otherwise: string) {
  const make = (pattern: string) => {
    try {
      return new RegExp(pattern, flags);
    } catch {
      return new RegExp(pattern, otherwise);
    }
  };
  return Object.assign(make, { code: "new RegExp" });
}

const ajvs = new Map<MakeRegExp, Ajv2020>();
/** The checks by their schema's hash. */
const compiled = new LRUCache<string, CheckValue>({ max: MAX_COMPILED });

/** The error of a schema that is none. */
class SchemaError extends InvalidRequestError {
  readonly reason: string;

  constructor(reason: string) {
    super({
      code: "invalid_schema",
      message: `the schema of the answer cannot be used: ${reason}`,
      hint: "give a JSON Schema of draft 2020-12",
    });
    this.reason = reason;
  }
}

/** Returns why a schema cannot be used, naming the place; undefined when it can. */
export function schemaFault(schema: JsonSchema): string | undefined {
  try {
    compileSchema(schema);
    return undefined;
  } catch (error) {
    if (error instanceof SchemaError) return error.reason;
    throw error;
  }
}

/**
 * Returns the check of a schema, compiled once while it is among the last 200 in use.
 * @param ofZod its patterns are meant without the flag u
 * @throws InvalidRequestError `invalid_schema` when the schema is none. The check throws it too, when it takes longer
 * than a second.
 */
export function compileSchema(schema: JsonSchema, { ofZod = false } = {}): CheckValue {
  const json = JSON.stringify(schema);
  const hash = sha256(ofZod ? `zod ${json}` : json);
  const regExp = ofZod ? AS_ZOD : UNICODE;
  const check = compiled.get(hash) ?? compile(schema, regExp, /"\$(id|anchor|dynamicAnchor)"/.test(json));
  compiled.set(hash, check);
  return check;
}

function compile(
  { $schema: _dialect, ...schema }: JsonSchema,
  regExp: MakeRegExp,
  isNamed: boolean,
): CheckValue {
  const ajv = ajvs.get(regExp) ?? newAjv(regExp);
  ajvs.set(regExp, ajv);
  // Names hold for all schemas of an instance, and could be those of another, or of the draft itself.
  const compiler = isNamed ? newAjv(regExp) : ajv;
  const validate = withinTime(MAX_COMPILE_MS, "compiling the schema", () => {
    try {
      return compiler.compile(schema);
    } catch (error) {
      return error as Error;
    }
  });
  // Ajv would keep every schema.
  compiler.removeSchema(schema);
  if (validate instanceof Error) throw new SchemaError(validate.message.slice(0, 300));
  return (value) =>
    withinTime(MAX_CHECK_MS, "checking an answer", () => (validate(value) ? [] : (validate.errors ?? [])));
}

function withinTime<T>(timeoutMs: number, what: string, work: () => T): T {
  const outcome = interruptible(timeoutMs, work);
  if (outcome) return outcome.value;
  // It may have been stopped amid its own bookkeeping.
  ajvs.clear();
  throw new SchemaError(`${what} takes longer than ${timeoutMs / 1000} s; a pattern may be the cause`);
}

function newAjv(regExp: MakeRegExp): Ajv2020 {
  const { Ajv2020 } = loadAjv();
  return new Ajv2020({
    strict: false,
    allErrors: true,
    logger: false,
    formats: FORMATS,
    code: { regExp },
  });
}

/** Ajv is loaded by the first schema: it would cost every command a tenth of a second. */
function loadAjv(): typeof import("ajv/dist/2020.js") {
  try {
    // A bundler puts the package here; an ES module has no `require`.
    return require("ajv/dist/2020.js");
  } catch {
    return createRequire(import.meta.url)("ajv/dist/2020.js");
  }
}

function fits(schema: z.ZodType): (text: string) => boolean {
  return (text) => schema.safeParse(text).success;
}
