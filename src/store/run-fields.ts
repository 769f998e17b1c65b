import { parseJson } from "../shared/json.ts";
import { readStored } from "../shared/stored-data.ts";
import { isBlobRef } from "./blobs.ts";
import { isSealed } from "./envelope.ts";
import type { RunJournalEntry } from "./run-journal.ts";
import { openFields, sealFields } from "./sealed-fields.ts";
import type { Store } from "./store.ts";

/*
 * What of a run's record and journal is encrypted where encryption is on. A reference to a blob says nothing: it stays, for who
 * lengthens or ends the life of what a run has.
 */

const CONTENTS = new Set(["input", "output", "metadata", "providerOptions"]);
/** JSON of an error, of which scripts read these fields. */
const FAULTS = new Set(["error", "blocked"]);
const OPEN_IN_FAULTS = new Set(["code", "category"]);
const ENTRY_CONTENTS = new Set(["value", "data", "error", "digest"]);

/** A debounced start gives its input to the run that waits: an input belongs to its workflow, all else to its run. */
function placeOf(name: string, runId: string, workflow: string) {
  return { kind: `${name} of run`, id: name === "input" ? workflow : runId };
}

/** Returns fields of a run's record, names and values in turn, as they may be stored. @param workflow where the input is among them */
export async function sealRunFields(
  store: Store,
  runId: string,
  fields: readonly (string | number)[],
  workflow = "",
): Promise<(string | number)[]> {
  if (!store.sealing.isOn) return [...fields];
  const pairs = Array.from({ length: fields.length / 2 }, (_, n) => fields.slice(2 * n, 2 * n + 2));
  const sealed = await Promise.all(
    pairs.map(async ([name = "", value = ""]) => [
      name,
      await sealedValue(store, placeOf(String(name), runId, workflow), String(name), value),
    ]),
  );
  return sealed.flat();
}

async function sealedValue(
  store: Store,
  place: { kind: string; id: string },
  name: string,
  value: string | number,
): Promise<string | number> {
  if (typeof value !== "string") return value;
  if (FAULTS.has(name)) {
    const fault = await sealFields(store, place, Object(parseJson(value)), (field) =>
      OPEN_IN_FAULTS.has(field),
    );
    return JSON.stringify(fault);
  }
  const isContent = CONTENTS.has(name) && !isBlobRef(parseJson(value));
  return isContent ? store.sealing.seal(place.kind, place.id, value) : value;
}

/** Returns the fields of a run's record in clear. @throws GlueError `encryption_key_missing`, `corrupt_data` */
export async function openRunFields(
  store: Store,
  runId: string,
  fields: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const opened: Record<string, string> = { ...fields };
  for (const [name, value] of Object.entries(fields)) {
    const place = placeOf(name, runId, fields.workflow ?? "");
    if (CONTENTS.has(name) && isSealed(value))
      opened[name] = await store.sealing.open(place.kind, place.id, value);
    else if (FAULTS.has(name) && value.includes('"sealed":"enc'))
      opened[name] = JSON.stringify(await openFields(store, place, parseJson(value)));
  }
  return opened;
}

const ENTRY = "journal of run";

/** Returns an entry of a run's journal as it may be stored. */
export async function entryText(store: Store, runId: string, entry: RunJournalEntry): Promise<string> {
  const isOpen = (name: string, value: unknown) => !ENTRY_CONTENTS.has(name) || isBlobRef(value);
  return JSON.stringify(await sealFields(store, { kind: ENTRY, id: runId }, entry, isOpen));
}

/** Returns a stored entry of a run's journal. @throws GlueError `corrupt_data`, `encryption_key_missing` */
export async function openEntry(store: Store, runId: string, text: string): Promise<RunJournalEntry> {
  const entry: unknown = readStored("an entry of a run's journal", () => JSON.parse(text));
  return (await openFields(store, { kind: ENTRY, id: runId }, entry)) as RunJournalEntry;
}
