import { readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { isAlive, type ProcessIdentity } from "../shared/process-identity.ts";

/**
 * What the supervisor notes of its server. It is written before the server is spawned (without `process`), so a
 * supervisor that dies in between leaves a trace, and no second server is started on the same files.
 */
export interface ServerRecord {
  socketPath: string;
  process?: ProcessIdentity;
}

interface StoredRecord extends ServerRecord {
  /** The real path of the folder: a copied folder does not inherit the server. */
  place: string;
}

export function writeServerRecord(path: string, record: ServerRecord): void {
  const stored: StoredRecord = { ...record, place: realpathSync(dirname(path)) };
  writeFileSync(path, JSON.stringify(stored), { mode: 0o600 });
}

/** Returns the record of a server that lives or was about to start; undefined when there is none. */
export function readServerRecord(path: string): ServerRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, "utf8")) as StoredRecord;
    if (record.place !== realpathSync(dirname(path))) return undefined;
    return record.process && !isAlive(record.process) ? undefined : record;
  } catch {
    return undefined;
  }
}

export function removeServerRecord(path: string): void {
  rmSync(path, { force: true });
}
