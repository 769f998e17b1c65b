import { createRequire } from "node:module";
import { z } from "zod";
import { ConfigurationError } from "./errors.ts";
import { find, PII, SECRETS } from "./guardrails/patterns.ts";

/** Returns a text without what nobody is to read later. */
export type Redact = (text: string) => string;

/** Redaction before storage. Off without kinds and module. */
export interface RedactionSettings {
  /** What is looked for by its form. */
  kinds: readonly string[];
  /** The path of a module that exports `redact(text)`, which gets what the kinds left. */
  module: string | undefined;
}

/** Kinds that `GLUELLM_REDACT` may name. */
const KINDS = [...PII.map(({ kind }) => kind), "keys"];

const kinds = z.string().transform((text, context) => {
  const named = text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);
  if (named.includes("all")) return KINDS;
  const unknown = named.find((kind) => !KINDS.includes(kind));
  if (unknown === undefined) return named;
  context.addIssue(`"${unknown}" is no kind; there are ${KINDS.join(", ")}, and all`);
  return z.NEVER;
});

/** Variables of redaction before storage. */
export const redactionVariables = { REDACT: kinds.default([]), REDACT_MODULE: z.string().optional() };

/** What is redacted of a text beyond what is kept of it, so that no half of a number is. */
const MARGIN_CHARS = 1000;

/** Stands for a text that the module failed at: it is not stored as it was. */
const FAILED = "[REDACTION FAILED]";

/**
 * Returns what redacts texts before they are stored; undefined when it is off. It may get a text twice.
 * @throws ConfigurationError when the module cannot be loaded, or does not export `redact(text)`
 */
export function redactorOf({ kinds, module }: RedactionSettings): Redact | undefined {
  if (kinds.length === 0 && module === undefined) return undefined;
  const finders = [
    ...(kinds.includes("keys") ? SECRETS : []),
    ...PII.filter(({ kind }) => kinds.includes(kind)),
  ];
  const own = module === undefined ? undefined : loadOwn(module);
  return (text) => {
    const { masked } = find(text, finders);
    return own ? ofModule(own, masked) : masked;
  };
}

function loadOwn(path: string): (text: string) => unknown {
  let redact: unknown;
  try {
    // At once: the first line of a log may need it.
    ({ redact } = createRequire(import.meta.url ?? path)(path) as { redact?: unknown });
  } catch (error) {
    throw moduleFault(`${path} cannot be loaded: ${(error as Error).message.split("\n")[0]}`);
  }
  if (typeof redact !== "function") throw moduleFault(`${path} does not export the function redact`);
  const own = redact as (text: string) => unknown;
  if (ofModule(own, "text") === FAILED) throw moduleFault(`redact("text") of ${path} returns no text`);
  return own;
}

function ofModule(own: (text: string) => unknown, text: string): string {
  try {
    const redacted = own(text);
    return typeof redacted === "string" ? redacted : FAILED;
  } catch {
    return FAILED;
  }
}

function moduleFault(message: string): ConfigurationError {
  return new ConfigurationError(
    `GLUELLM_REDACT_MODULE: ${message}`,
    "export function redact(text) that returns the text to store, as docs/redaction.md shows",
    "redact_module",
  );
}

/** Returns a text that may be absent, redacted. */
export function redactedMaybe<T extends string | undefined>(redact: Redact | undefined, text: T): T {
  return (text === undefined ? text : (redact?.(text) ?? text)) as T;
}

/** Returns the beginning of a text, redacted. */
export function redacted(text: string, redact: Redact | undefined, maxChars: number): string {
  return (redact ? redact(text.slice(0, maxChars + MARGIN_CHARS)) : text).slice(0, maxChars);
}

/** Returns a value as JSON with its texts redacted; of a long one only what its first characters say. */
export function redactedJson(value: unknown, redact: Redact | undefined, maxChars: number): string {
  if (!redact) return (JSON.stringify(value) ?? "").slice(0, maxChars);
  const json = JSON.stringify(value, (_, item) =>
    typeof item === "string" ? redacted(item, redact, maxChars) : item,
  );
  return (json ?? "").slice(0, maxChars);
}
