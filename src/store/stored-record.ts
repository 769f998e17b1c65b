import { fieldsOf, parseJson } from "../shared/json.ts";
import { ACKNOWLEDGED, parseRecord, type ResultRecord, readRecordValue } from "../shared/records.ts";
import { readStored } from "../shared/stored-data.ts";
import { isBlobRef } from "./blobs.ts";
import { openFields, sealFields } from "./sealed-fields.ts";
import type { Store } from "./store.ts";

/*
 * The text of a result record. With encryption on, what was said lies in `sealed`; what scripts read (status, tokens, cost, times)
 * does not.
 */

const SEALED = [
  ...["response", "error", "output", "toolExecutions", "rejected"],
  ...["providerMessage", "guardrails", "fallbacks"],
];
/** A record may have it that is in clear too; then it has no field of that name. */
const SEALED_SIGN = '"sealed":"enc';
const KIND = "result record of job";

/** A reference to a blob says nothing: it stays, for who lengthens or ends the blob's life. */
function isOpen(name: string, value: unknown): boolean {
  return (
    !SEALED.includes(name) || isBlobRef(value) || (name === "response" && isBlobRef(fieldsOf(value).body))
  );
}

/** Returns the text that stands for a record in Redis. */
export async function recordText(store: Store, record: ResultRecord): Promise<string> {
  if (!store.sealing.isOn) return JSON.stringify(record);
  const place = { kind: KIND, id: record.jobId };
  return JSON.stringify(await sealFields(store, place, record, isOpen));
}

/**
 * Returns the record in the text that stands under its key; undefined for none, and for the mark of a row.
 * @throws GlueError `corrupt_data`, `encryption_key_missing`
 */
export async function openRecord(
  store: Store,
  jobId: string,
  text: string | null,
): Promise<ResultRecord | undefined> {
  if (text === null || text === ACKNOWLEDGED || !text.includes(SEALED_SIGN)) return parseRecord(jobId, text);
  const stored: unknown = readStored(`the result record of job ${jobId}`, () => JSON.parse(text));
  const opened = await openFields(store, { kind: KIND, id: jobId }, stored);
  return readRecordValue(jobId, () => opened);
}

/** Returns a record's text in clear; one that is damaged as it is. @throws GlueError `encryption_key_missing` */
export async function plainRecordText(store: Store, jobId: string, text: string): Promise<string> {
  if (!text.includes(SEALED_SIGN)) return text;
  return JSON.stringify(await openFields(store, { kind: KIND, id: jobId }, parseJson(text)));
}
