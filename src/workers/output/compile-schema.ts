import { Ajv2020, type ErrorObject, type Options } from "ajv/dist/2020.js";
import { z } from "zod";
import { InvalidRequestError } from "../../shared/errors.ts";
import type { JsonSchema } from "../../shared/json-schema.ts";
import { sha256 } from "../../shared/redis-keys.ts";
import { interruptible } from "./interruptible.ts";

/** What a value violates; empty when it fits. */
export type CheckValue = (value: unknown) => readonly ErrorObject[];

const MAX_COMPILED = 200;
const MAX_COMPILE_MS = 5000;
const MAX_CHECK_MS = 1000;

/**
 * A format is checked as loosely as anybody writes it, since zod adds its own stricter pattern; unknown ones pass, as
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

const regExp = Object.assign(
  (pattern: string) => {
    try {
      return new RegExp(pattern, "u");
    } catch {
      // Escapes such as \- are patterns too, only not with that flag.
      return new RegExp(pattern);
    }
  },
  { code: "new RegExp" },
);

let ajv = newAjv();
/** By the schema's hash; the longest unused is first. */
const compiled = new Map<string, CheckValue>();

/**
 * The check of a schema, compiled once.
 * @throws InvalidRequestError `invalid_schema` when the schema is none; the check throws it too, when it takes longer
 * than a second.
 */
export function compileSchema(schema: JsonSchema): CheckValue {
  const json = JSON.stringify(schema);
  const hash = sha256(json);
  const check = compiled.get(hash) ?? compile(schema, /"\$(id|anchor|dynamicAnchor)"/.test(json));
  compiled.delete(hash);
  compiled.set(hash, check);
  const [oldest] = compiled.keys();
  if (compiled.size > MAX_COMPILED && oldest !== undefined) compiled.delete(oldest);
  return check;
}

function compile({ $schema: _dialect, ...schema }: JsonSchema, isNamed: boolean): CheckValue {
  // Names hold for all schemas of an instance, and could be those of another, or of the draft itself.
  const compiler = isNamed ? newAjv() : ajv;
  const validate = withinTime(MAX_COMPILE_MS, "compiling the schema", () => {
    try {
      return compiler.compile(schema);
    } catch (error) {
      return error as Error;
    }
  });
  // It would keep every schema.
  compiler.removeSchema(schema);
  if (validate instanceof Error) throw invalidSchema(validate.message.slice(0, 300));
  return (value) =>
    withinTime(MAX_CHECK_MS, "checking an answer", () => (validate(value) ? [] : (validate.errors ?? [])));
}

function withinTime<T>(timeoutMs: number, what: string, work: () => T): T {
  const outcome = interruptible(timeoutMs, work);
  if (outcome) return outcome.value;
  // It may have been stopped amid its own bookkeeping.
  ajv = newAjv();
  throw invalidSchema(`${what} takes longer than ${timeoutMs / 1000} s; a pattern may be the cause`);
}

function newAjv(): Ajv2020 {
  return new Ajv2020({ strict: false, allErrors: true, logger: false, formats: FORMATS, code: { regExp } });
}

function invalidSchema(reason: string): InvalidRequestError {
  return new InvalidRequestError({
    code: "invalid_schema",
    message: `the schema of the answer cannot be used: ${reason}`,
    hint: "give a JSON Schema of draft 2020-12",
  });
}

function fits(schema: z.ZodType): (text: string) => boolean {
  return (text) => schema.safeParse(text).success;
}
