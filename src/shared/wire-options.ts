import { z } from "zod";
import { fieldsOf } from "./json.ts";
import type { Dialect } from "./providers.ts";

/*
 * What a call says to one provider in that provider's own words, beside its request: fields of the body, headers, query.
 */

const MAX_HEADERS = 32;
const MAX_CHARS = 4096;

/** Headers that only the entry and the connection set: keys, cookies, where the request goes, how it is framed. */
const OWN_HEADERS =
  /^(proxy-.*|host|content-(length|type|encoding)|connection|keep-alive|te|trailers?|transfer-encoding|upgrade|expect|forwarded|x-forwarded-.*|accept-encoding|x-client-request-id|x-stainless-.*)$/;
const SECRET_HEADERS =
  /(^|[-_])(authorization|auth|api[-_]?keys?|cookie2?|token|secret|password|credentials?)($|[-_])/;

const headerName = z
  .string()
  .regex(/^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/i, "is no name of a header")
  .refine((name) => !OWN_HEADERS.test(name.toLowerCase()), "is set by the connection");
const headerValue = z
  .string()
  .max(MAX_CHARS)
  .regex(/^[\x20-\x7e]*$/, "must be printable ASCII on one line");

function headersOf(name: z.ZodString) {
  return z
    .record(name, headerValue)
    .refine((headers) => Object.keys(headers).length <= MAX_HEADERS, `has more than ${MAX_HEADERS} names`)
    .refine(
      (headers) =>
        new Set(Object.keys(headers).map((key) => key.toLowerCase())).size === Object.keys(headers).length,
      "has a name twice",
    );
}

/** Headers of a provider entry; a second key, as of a gateway, may be among them. */
export const entryHeadersSchema = headersOf(
  headerName.refine(
    (name) => name.toLowerCase() !== "authorization",
    "comes from keyVariable; see keyHeader",
  ),
);
/** Headers of a call: they cannot say who calls. */
export const callHeadersSchema = headersOf(
  headerName.refine(
    (name) => !SECRET_HEADERS.test(name.toLowerCase()),
    "belongs to the provider entry, not to a call",
  ),
);
/** Parameters in the address of a call, such as Azure's `api-version`. */
export const querySchema = z
  .record(z.string().regex(/^[\w.-]{1,100}$/, "is no name of a parameter"), z.string().max(MAX_CHARS))
  .refine((query) => Object.keys(query).length <= MAX_HEADERS, `has more than ${MAX_HEADERS} names`);

/** Fields that the request sets, and others would override unseen. */
const REQUEST_FIELDS: Record<Dialect, readonly string[]> = {
  openai: [
    ...["model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens"],
    ...["input", "max_output_tokens", "background"],
  ],
  anthropic: ["model", "messages", "system", "stream", "max_tokens"],
};

export const providerOptionsSchema = z.record(z.string(), z.record(z.string(), z.unknown()));

export const wireOptionsSchema = z.object({
  /** By the name of an entry, or of a dialect for all other entries that speak it. */
  providerOptions: providerOptionsSchema.optional(),
  headers: callHeadersSchema.optional(),
  query: querySchema.optional(),
});
export type WireOptions = z.infer<typeof wireOptionsSchema>;

/** Provider options of a call or a client: fields of the request's body in the words of that provider. */
export type ProviderOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Returns the options that hold for an entry: those under its name, else those of its dialect. */
export function providerOptionsFor(
  { name, dialect }: { name: string; dialect: Dialect },
  { providerOptions = {} }: WireOptions = {},
): Record<string, unknown> | undefined {
  return providerOptions[name] ?? providerOptions[dialect];
}

/** A server that knows it gives the answer to one request to the next one under the same key. */
const IDEMPOTENCY_KEY = /^(x-)?idempotency-key$/i;

/** Returns what a call of our own says, which is made for the sake of another one: where it goes, and not what is asked. */
export function wireOfSideCall({ headers, query }: WireOptions = {}): WireOptions {
  const kept = Object.entries(headers ?? {}).filter(([name]) => !IDEMPOTENCY_KEY.test(name));
  return { ...(kept.length > 0 && { headers: Object.fromEntries(kept) }), ...(query && { query }) };
}

/** Returns whether a call brings tools that its provider runs: their answers may pause, and be gone on with. */
export function hasServerTools({ providerOptions = {} }: WireOptions = {}): boolean {
  return Object.values(providerOptions).some((options) => Array.isArray(fieldsOf(options).tools));
}

/** Returns whether a call asks Anthropic's model to think. */
export function thinks(entry: { name: string; dialect: Dialect }, wire: WireOptions | undefined): boolean {
  const { type = "disabled" } = fieldsOf(providerOptionsFor(entry, wire)?.thinking);
  return entry.dialect === "anthropic" && type !== "disabled";
}

/** Returns the first field that options may not set, of the given dialect; undefined when there is none. */
export function fieldOfRequest(
  dialect: Dialect,
  options: Readonly<Record<string, unknown>>,
): string | undefined {
  return REQUEST_FIELDS[dialect].find((field) => field in options);
}
