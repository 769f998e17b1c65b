import { jsonFault } from "../producers/json-fault.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { Dialect } from "../shared/providers.ts";
import type { Settings } from "../shared/settings.ts";
import { fieldOfRequest, type ProviderOptions, type WireOptions } from "../shared/wire-options.ts";

interface Given {
  providerOptions?: ProviderOptions | undefined;
  headers?: Readonly<Record<string, string>> | undefined;
  query?: Readonly<Record<string, string>> | undefined;
}

/** They lie in the job itself. */
const MAX_OPTIONS_BYTES = 64 * 1024;
const DIALECTS: readonly string[] = ["openai", "anthropic"] satisfies Dialect[];

/**
 * Returns what a call says to its providers beside the request; undefined when that is nothing. Options of the call come
 * before the client's, field by field.
 * @throws InputError naming what no provider entry or dialect is called, a field that the request sets, or headers in a
 * call whose models are of several entries
 */
export function toWireOptions(
  { providerOptions = {}, headers, query }: Given,
  defaults: ProviderOptions = {},
  { settings, models }: { settings: Settings; models: readonly ModelRef[] },
): WireOptions | undefined {
  const names = [...new Set([...Object.keys(defaults), ...Object.keys(providerOptions)])];
  const options = Object.fromEntries(
    names.map((name) => [name, { ...defaults[name], ...providerOptions[name] }]),
  );
  for (const [name, fields] of Object.entries(options)) checkOptionsOf(name, fields, settings);
  const bytes = bytesOf(options);
  if (bytes > MAX_OPTIONS_BYTES) {
    throw new InputError(
      `the options are wrong at providerOptions: they have ${bytes} bytes; the limit is ${MAX_OPTIONS_BYTES}`,
    );
  }
  const entries = new Set(models.map(({ entry }) => entry));
  if ((headers ?? query) && entries.size > 1) {
    throw new InputError(
      `the options are wrong at ${headers ? "headers" : "query"}: the call's models are of several providers, which each have their own`,
      "give them to the provider entries, in GLUELLM_PROVIDERS",
    );
  }
  const wire = {
    ...(names.length > 0 && { providerOptions: options }),
    ...(headers && { headers: { ...headers } }),
    ...(query && { query: { ...query } }),
  };
  return Object.keys(wire).length > 0 ? wire : undefined;
}

/** @throws InputError naming what JSON cannot hold */
function bytesOf(options: object): number {
  try {
    return Buffer.byteLength(JSON.stringify(options));
  } catch {
    throw new InputError(`the options are wrong at providerOptions.${jsonFault(options)}`);
  }
}

function checkOptionsOf(
  name: string,
  fields: Readonly<Record<string, unknown>>,
  { providers }: Settings,
): void {
  const dialect = providers[name]?.dialect ?? (DIALECTS.includes(name) ? (name as Dialect) : undefined);
  if (!dialect) {
    const known = [...new Set([...Object.keys(providers), ...DIALECTS])];
    throw new InputError(
      `the options are wrong at providerOptions.${name}: there is no provider entry or dialect of that name`,
      hintOf(didYouMean(name, known), `there are: ${known.join(", ")}`),
    );
  }
  const field = fieldOfRequest(dialect, fields);
  if (field)
    throw new InputError(`the options are wrong at providerOptions.${name}.${field}: the request sets it`);
}
