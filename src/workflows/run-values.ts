import { decode } from "../shared/serialize.ts";
import { isBlobRef, readBlob } from "../store/blobs.ts";
import type { RunRecord } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";

/** Returns what a run was started with. */
export async function inputOf(store: Store, { input, inputTyped }: RunRecord): Promise<unknown> {
  const json = isBlobRef(input) ? await readBlob(store, input) : input;
  return inputTyped ? decode(json) : json;
}

/** Returns what a run that succeeded has brought. */
export async function outputOf(store: Store, { output, outputTyped }: RunRecord): Promise<unknown> {
  const json = isBlobRef(output) ? await readBlob(store, output) : output;
  return outputTyped ? decode(json) : json;
}
