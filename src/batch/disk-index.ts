import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { type ModelRef, modelRef } from "../shared/model-name.ts";
import { outputFileError } from "./file-errors.ts";
import { createIndexFile, openIndexFile, removeIndexFile } from "./index-file.ts";
import { IndexIds, type IndexOptions } from "./index-ids.ts";
import {
  type DoneRow,
  type IndexCounts,
  type IndexRow,
  noRows,
  OUT_FILE,
  type RowCounts,
  type RowStanding,
  type RowState,
  type ScannedRow,
  STATES,
  type StoredRow,
  type UsualUse,
} from "./index-row.ts";
import { outputFiles } from "./output-paths.ts";
import { digest16, rowId } from "./row-identity.ts";

const [MISSING, SUCCEEDED, FAILED] = [0, 1, 2];
/** Fewer rows do not make an average. */
const TELLING_ROWS = 8;

const COLUMNS = "line, id, offset, bytes, occurrence, model, state, beginnings";

/**
 * The rows of a batch on disk (`OUT.jsonl.index`): where each lies in the input, whether it has a result, and where
 * that lies. Memory does not grow with the rows. Lives as long as the run; one that is `kept` is there for the next run
 * too, until the batch is finished.
 */
export class DiskIndex {
  /** For the modules that place results; the schema is in index-file.ts. */
  readonly database: DatabaseSync;
  readonly isKept: boolean;
  /** It was there before this run, with the rows and results of an earlier one. */
  readonly isReopened: boolean;
  readonly ids: IndexIds;
  readonly #path: string;
  readonly #models: ModelRef[] = [];
  #counts = { ...noRows(), malformed: 0, models: new Map<string, RowCounts>() };
  #isOpen = true;
  readonly #statements;

  /** @throws InputError `output_in_use` when a live run holds the output. */
  static create(
    outputPath: string,
    { kept = false, ids }: { kept?: boolean } & IndexOptions = {},
  ): DiskIndex {
    const { index } = outputFiles(outputPath);
    return new DiskIndex(index, createIndexFile(index, outputPath, kept), { isKept: kept, ids });
  }

  /** The index of an earlier run, if it left one. @throws InputError `output_in_use` when a live run holds the output. */
  static reopen(outputPath: string): DiskIndex | undefined {
    const { index } = outputFiles(outputPath);
    const database = openIndexFile(index, outputPath);
    return database && new DiskIndex(index, database, { isKept: true, isReopened: true });
  }

  private constructor(
    path: string,
    database: DatabaseSync,
    { isKept, isReopened = false, ids }: { isKept: boolean; isReopened?: boolean } & IndexOptions,
  ) {
    this.#path = path;
    this.ids = new IndexIds(ids);
    this.database = database;
    this.isKept = isKept;
    this.isReopened = isReopened;
    for (const { entry, model } of database.prepare("SELECT entry, model FROM models ORDER BY place").all())
      this.#models.push(modelRef(String(entry), String(model)));
    this.#statements = {
      add: database.prepare(
        `INSERT INTO rows (line, offset, bytes, id, label, occurrence, model, state, asked_tokens, beginnings)
         VALUES (?,?,?,?,?,?,?,?,?,?)`,
      ),
      occurrence: database.prepare(
        "INSERT INTO occurrences VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n",
      ),
      labelled: database.prepare("SELECT line FROM rows WHERE label = ?"),
      find: database.prepare(`SELECT ${COLUMNS} FROM rows WHERE id = ?`),
      standing: database.prepare("SELECT line, model, state FROM rows WHERE id = ?"),
      missing: database.prepare(
        `SELECT ${COLUMNS} FROM rows WHERE state = 0 AND model = ? AND line > ? ORDER BY line LIMIT ?`,
      ),
      done: database.prepare(
        `UPDATE rows SET state = ?, out_file = ${OUT_FILE.partial}, out_offset = ?, out_bytes = ?, relabel = 0,
         prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, cost_usd = ?, from_cache = ?, lane = ? WHERE line = ?`,
      ),
      remember: database.prepare(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
      ),
      addMalformed: database.prepare("INSERT INTO malformed VALUES (?, ?)"),
    };
  }

  /** The models the rows use, in the order they appear. */
  models(): readonly ModelRef[] {
    return this.#models;
  }

  /** Rows of a model without a result, in input order, from the line after `afterLine` on. */
  nextMissing(modelKey: string, afterLine: number, limit: number): IndexRow[] {
    const model = this.#models.findIndex(({ key }) => key === modelKey);
    return (this.#statements.missing.all(model, afterLine, limit) as unknown as StoredRow[]).map(this.#toRow);
  }

  /** What rows of a model took so far; undefined before so many have answers that it says something. */
  usualUse(modelKey: string): UsualUse | undefined {
    const model = this.#models.findIndex(({ key }) => key === modelKey);
    const { rows, ...usual } = this.database
      .prepare(
        `SELECT count(*) AS rows, total(prompt_tokens) / total(asked_tokens) AS perAskedToken, avg(completion_tokens) AS completion
         FROM rows WHERE model = ? AND state = ${SUCCEEDED} AND from_cache = 0 AND asked_tokens > 0`,
      )
      .get(model) as unknown as UsualUse & { rows: number };
    return rows < TELLING_ROWS ? undefined : usual;
  }

  /** Costs nothing; also works after `close`. */
  counts(): IndexCounts {
    return this.#counts;
  }

  lineOf(id: string): number | undefined {
    return this.standing(id)?.line;
  }

  find(id: string): IndexRow | undefined {
    const row = this.#statements.find.get(this.ids.stored(id)) as StoredRow | undefined;
    return row && this.#toRow(row);
  }

  /** Returns of a row what changes with its result, at half the cost of `find`. */
  standing(id: string): RowStanding | undefined {
    const row = this.#statements.standing.get(this.ids.stored(id)) as StoredRow | undefined;
    return row && { line: row.line, ...this.#standing(row) };
  }

  /** Records results that are safe in the partial. A success is never replaced by a failure. */
  markDone(results: readonly DoneRow[]): void {
    this.transaction(() => {
      for (const { id, failed, outOffset, outBytes, use } of results) {
        this.remember("partialEnd", outOffset + outBytes + 1);
        const row = this.standing(id);
        if (!row?.model || (row.state === "succeeded" && failed)) continue;
        const { prompt = 0, completion = 0, cached = 0, costUsd = null, fromCache, lane = null } = use ?? {};
        if (use?.estimated) this.remember("estimated", true);
        const used = [prompt, completion, cached, costUsd, fromCache ? 1 : 0, lane];
        this.#statements.done.run(failed ? FAILED : SUCCEEDED, outOffset, outBytes, ...used, row.line);
        const state = failed ? "failed" : "succeeded";
        this.#move(this.#counts, row.state, state);
        this.#move(this.#counts.models.get(row.model.key), row.state, state);
      }
    });
  }

  /** Makes failed rows missing again, except malformed ones. Returns how many. */
  clearFailed(): number {
    const { changes } = this.run(
      "UPDATE rows SET state = 0, out_file = 0, relabel = 0 WHERE state = 2 AND model IS NOT NULL",
    );
    this.recount();
    return Number(changes);
  }

  /** Adds a row; its id is made of the digest and the custom_id or occurrence. Returns the line that has its label. */
  add(row: ScannedRow, model: ModelRef | undefined): number | undefined {
    const label = digest16(row.label);
    const other = this.#statements.labelled.get(label) as { line: number } | undefined;
    if (other) return other.line;
    const occurrence = row.customId === undefined ? this.#occurrenceOf(row.digest) : 0;
    const id = rowId(row.digest, row.customId === undefined ? { occurrence } : { customId: row.customId });
    const { line, offset, bytes } = row;
    const place = model ? this.#place(model) : null;
    const state = model ? MISSING : FAILED;
    const prompt = [row.askedTokens ?? 0, this.ids.storedBeginnings(row.beginnings)];
    const idStored = this.ids.stored(id);
    const stored = [line, offset, bytes, idStored, label, occurrence, place ?? null, state as number];
    this.#statements.add.run(...stored, ...prompt);
    if (!model) this.#counts.malformed += 1;
    for (const counts of [this.#counts, model && this.#counts.models.get(model.key)]) {
      if (!counts) continue;
      counts.total += 1;
      counts[model ? "missing" : "failed"] += 1;
    }
    return undefined;
  }

  /** Keeps a fact for a later run, within the transaction at hand. */
  remember(name: string, value: unknown): void {
    if (this.isKept) this.#statements.remember.run(name, JSON.stringify(value));
  }

  /** Returns a fact that was kept; undefined when it was not. */
  recall(name: string): unknown {
    const row = this.database.prepare("SELECT value FROM meta WHERE name = ?").get(name);
    return row && JSON.parse(String(row.value));
  }

  /** Keeps the output line of a row that is no valid request. */
  addMalformed(line: number, output: (id: string) => string): void {
    const row = this.database.prepare("SELECT id FROM rows WHERE line = ?").get(line) as unknown as StoredRow;
    this.#statements.addMalformed.run(line, output(this.ids.hexOf(row.id)));
  }

  /** Counts again what is in the file, after changes that `markDone` did not make. */
  recount(): void {
    const counts = {
      ...noRows(),
      malformed: 0,
      models: new Map(this.#models.map(({ key }) => [key, noRows()])),
    };
    const groups = this.database
      .prepare("SELECT model, state, count(*) AS n FROM rows GROUP BY model, state")
      .all();
    for (const { model, state, n } of groups as { model: number | null; state: number; n: number }[]) {
      if (model === null) counts.malformed += n;
      const ofModel = model === null ? undefined : counts.models.get(this.#models[model]?.key ?? "");
      for (const target of ofModel ? [counts, ofModel] : [counts]) {
        target.total += n;
        target[STATES[state] as RowState] += n;
      }
    }
    this.#counts = counts;
  }

  /** Runs one statement. @throws ConfigurationError when the disk is full or fails. */
  run(sql: string, ...values: SQLInputValue[]) {
    return this.guard(() => this.database.prepare(sql).run(...values));
  }

  transaction(change: () => void): void {
    this.guard(() => {
      this.database.exec("BEGIN");
      change();
      this.database.exec("COMMIT");
    });
  }

  /** @throws ConfigurationError instead of SQLite's own error. */
  guard<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw (error as { code?: string }).code === "ERR_SQLITE_ERROR"
        ? outputFileError(error, this.#path)
        : error;
    }
  }

  /** Closes the file, and deletes it unless it is kept. */
  close(deletes = !this.isKept): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.database.close();
    if (deletes) removeIndexFile(this.#path);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #occurrenceOf(digest: string): number {
    return (this.#statements.occurrence.get(this.ids.stored(digest)) as { n: number }).n;
  }

  #place(model: ModelRef): number {
    const known = this.#models.findIndex(({ key }) => key === model.key);
    if (known >= 0) return known;
    const place = this.#models.push(modelRef(model.entry, model.model)) - 1;
    this.database.prepare("INSERT INTO models VALUES (?, ?, ?)").run(place, model.entry, model.model);
    this.#counts.models.set(model.key, noRows());
    return place;
  }

  #move(counts: RowCounts | undefined, from: RowState, to: RowState): void {
    if (!counts) return;
    counts[from] -= 1;
    counts[to] += 1;
  }

  readonly #toRow = ({ id, model, state, ...row }: StoredRow): IndexRow => ({
    ...row,
    id: this.ids.hexOf(id),
    ...this.#standing({ model, state }),
  });

  #standing({ model, state }: Pick<StoredRow, "model" | "state">): Omit<RowStanding, "line"> {
    return { model: model === null ? undefined : this.#models[model], state: STATES[state] as RowState };
  }
}
