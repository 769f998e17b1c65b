import { existsSync, rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { InputError } from "../shared/errors.ts";
import { outputFileError } from "./file-errors.ts";

const SQLITE_BUSY = 5;
/** Bounds what the index takes of memory, whatever the number of rows. */
const CACHE_KIB = 8192;

const SCHEMA = `
  CREATE TABLE rows (
    line INTEGER PRIMARY KEY,
    offset INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    label BLOB NOT NULL UNIQUE,
    occurrence INTEGER NOT NULL,
    model INTEGER,
    state INTEGER NOT NULL,
    out_file INTEGER NOT NULL DEFAULT 0,
    out_offset INTEGER NOT NULL DEFAULT 0,
    out_bytes INTEGER NOT NULL DEFAULT 0,
    relabel INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cost_usd REAL,
    from_cache INTEGER NOT NULL DEFAULT 0,
    lane TEXT,
    asked_tokens INTEGER NOT NULL,
    beginnings BLOB
  );
  CREATE INDEX missing ON rows (model, line) WHERE state = 0;
  CREATE TABLE occurrences (digest BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE malformed (line INTEGER PRIMARY KEY, output TEXT NOT NULL);
  CREATE TABLE orphans (
    id BLOB PRIMARY KEY,
    succeeded INTEGER NOT NULL,
    out_file INTEGER NOT NULL,
    out_offset INTEGER NOT NULL,
    out_bytes INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE models (place INTEGER PRIMARY KEY, entry TEXT NOT NULL, model TEXT NOT NULL);
  CREATE TABLE blocks (n INTEGER PRIMARY KEY, hash TEXT NOT NULL);
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`;

/**
 * A new, empty index file, locked (by the kernel: the lock ends with the process) as long as it is open. There is no
 * fsync: a run after a power cut builds it again. One that is `kept` has a log, so that it is whole after a kill.
 * @throws InputError when a live run holds it, ConfigurationError when it cannot be written.
 */
export function createIndexFile(path: string, outputPath: string, kept: boolean): DatabaseSync {
  refuseWhenInUse(path, outputPath);
  let database: DatabaseSync | undefined;
  try {
    removeIndexFile(path);
    database = openDatabase(path);
    database.exec("PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE");
    database.exec(`PRAGMA journal_mode = ${kept ? "WAL" : "OFF"}`);
    database.exec(`PRAGMA cache_size = -${CACHE_KIB}; BEGIN EXCLUSIVE; ${SCHEMA} COMMIT`);
    return database;
  } catch (error) {
    database?.close();
    throw isBusy(error) ? inUse(outputPath) : outputFileError(error, path);
  }
}

/**
 * The index that an earlier run left; undefined when there is none, or what is there is no index.
 * @throws InputError when a live run holds it.
 */
export function openIndexFile(path: string, outputPath: string): DatabaseSync | undefined {
  refuseWhenInUse(path, outputPath);
  if (!existsSync(path)) return undefined;
  let database: DatabaseSync | undefined;
  try {
    database = openDatabase(path);
    database.exec("PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL");
    database.exec(
      `PRAGMA cache_size = -${CACHE_KIB}; BEGIN EXCLUSIVE; SELECT (SELECT lane FROM rows LIMIT 1) FROM meta, blocks LIMIT 1; COMMIT`,
    );
    return database;
  } catch (error) {
    database?.close();
    if (isBusy(error)) throw inUse(outputPath);
    return undefined;
  }
}

/** Removes an index file and its log. */
export function removeIndexFile(path: string): void {
  for (const name of [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]) rmSync(name, { force: true });
}

/** What a dead run left is no use; what a live one holds must stay, since two writers would spoil the output. */
export function refuseWhenInUse(path: string, outputPath: string): void {
  if (!existsSync(path)) return;
  let probe: DatabaseSync | undefined;
  try {
    probe = openDatabase(path);
    probe.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    if (isBusy(error)) throw inUse(outputPath);
  } finally {
    probe?.close();
  }
}

function isBusy(error: unknown): boolean {
  return ((error as { errcode?: number }).errcode ?? 0) % 256 === SQLITE_BUSY;
}

function inUse(outputPath: string): InputError {
  return new InputError(
    `another run is writing ${outputPath}`,
    "wait for it to end, or choose another output with -o",
    "output_in_use",
  );
}

/** Opens the file with SQLite, which is loaded by then only: Node.js 22 warns of it on standard error. */
function openDatabase(path: string): DatabaseSync {
  const sqlite = process.getBuiltinModule("node:sqlite");
  return new sqlite.DatabaseSync(path);
}
