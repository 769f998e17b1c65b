import { fieldsOf } from "../shared/json.ts";
import { isSealed } from "./envelope.ts";
import type { Store } from "./store.ts";

/*
 * Objects of which scripts and lists read some fields, and nobody but their owner reads others: these lie encrypted, as one
 * JSON text, in the field `sealed`.
 */

/** Returns an object as it may be stored. @param open `false`: the field is encrypted */
export async function sealFields(
  { sealing }: Store,
  place: { kind: string; id: string },
  value: object,
  open: (name: string, value: unknown) => boolean,
): Promise<Record<string, unknown>> {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  if (!sealing.isOn) return Object.fromEntries(entries);
  const hidden = entries.filter(([name, field]) => !open(name, field));
  const shown = entries.filter(([name, field]) => open(name, field));
  if (hidden.length === 0) return Object.fromEntries(shown);
  const sealed = await sealing.seal(place.kind, place.id, JSON.stringify(Object.fromEntries(hidden)));
  return Object.fromEntries([...shown, ["sealed", sealed]]);
}

/**
 * Returns a stored object with all of its fields.
 * @throws GlueError `encryption_key_missing`, `corrupt_data`
 */
export async function openFields(
  { sealing }: Store,
  { kind, id }: { kind: string; id: string },
  value: unknown,
): Promise<unknown> {
  const { sealed, ...shown } = fieldsOf(value);
  if (typeof sealed !== "string" || !isSealed(sealed)) return value;
  return { ...shown, ...(JSON.parse(await sealing.open(kind, id, sealed)) as object) };
}
