import type { ModelRef } from "../shared/model-name.ts";
import type { Vendor } from "./row-format.ts";

/**
 * The model a row goes to, from the name it gives, if any.
 * @throws InputError or ConfigurationError when there is no such model, provider or key: nothing may be sent.
 */
export type ResolveModel = (name: string | undefined, vendor?: Vendor) => ModelRef;

/** Asks once per name: a million rows name a handful of models. */
export function cached(resolveModel: ResolveModel): ResolveModel {
  const known = new Map<string, ModelRef>();
  return (name, vendor) => {
    const key = `${vendor}:${name}`;
    const ref = known.get(key) ?? resolveModel(name, vendor);
    known.set(key, ref);
    return ref;
  };
}
