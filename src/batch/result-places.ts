import { closeSync, openSync, readSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { LANE_PRICE_SHARE } from "../shared/cost.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { LineCipher } from "../store/sealed-lines.ts";
import { inFormat, type OutputFormat } from "./answer-forms.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { Place } from "./durable-file.ts";
import { inputFileError } from "./file-errors.ts";
import { OUT_FILE, STATES } from "./index-row.ts";
import type { EarlierResult } from "./output-line.ts";
import type { OutputFiles } from "./output-paths.ts";
import type { BatchUse } from "./tally.ts";

const PAGE_ROWS = 500;
const CHUNK_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;

export type ResultFile = (typeof OUT_FILE)[keyof typeof OUT_FILE];

/** USD of an answer; null when nobody knows. */
export type CostOf = (model: ModelRef, use: TokenUse) => number | null;

/** Where a result line lies among the output's files. */
export interface ResultPlace extends Place {
  line: number;
  file: ResultFile;
  /** The label its line should carry is another one. */
  relabel: number;
}

/** What an earlier result is to this input. */
export type Match = { kind: "row" | "malformed"; line: number } | { kind: "orphan" };

/** The part of the index that knows where each row's result lies. */
export class ResultPlaces {
  readonly #index: DiskIndex;
  readonly #costOf: CostOf;
  readonly #place;
  readonly #placeMalformed;
  readonly #orphan;
  #isEstimated = false;

  constructor(index: DiskIndex, costOf: CostOf) {
    this.#index = index;
    this.#costOf = costOf;
    const { database } = index;
    this.#place = database.prepare(
      `UPDATE rows SET state = ?, out_file = ?, out_offset = ?, out_bytes = ?, relabel = ?, prompt_tokens = ?,
       completion_tokens = ?, cached_tokens = ?, cost_usd = ?, from_cache = ?, lane = ? WHERE line = ?`,
    );
    this.#placeMalformed = database.prepare(
      `UPDATE rows SET out_file = ?, out_offset = ?, out_bytes = ?
       WHERE line = ? AND (SELECT output FROM malformed WHERE malformed.line = rows.line) = ?`,
    );
    this.#orphan = database.prepare(
      `INSERT INTO orphans VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET succeeded = excluded.succeeded,
       out_file = excluded.out_file, out_offset = excluded.out_offset, out_bytes = excluded.out_bytes
       WHERE excluded.succeeded >= succeeded`,
    );
  }

  /** Takes an earlier result over. A later one of the same row wins, but no failure over a success. */
  add(
    result: EarlierResult,
    label: (line: number) => string,
    file: ResultFile,
    place: Place,
    text: string,
  ): Match {
    const { id, failed, tokens, fromCache, lane } = result;
    const row = this.#index.find(id);
    if (!row) {
      this.#orphan.run(this.#index.ids.stored(id), failed ? 0 : 1, file, place.offset, place.bytes);
      return { kind: "orphan" };
    }
    if (tokens.estimated) this.#isEstimated = true;
    const { line } = row;
    if (!row.model) {
      this.#placeMalformed.run(file, place.offset, place.bytes, line, text);
      return { kind: "malformed", line };
    }
    if (failed && row.state === "succeeded") return { kind: "row", line };
    const relabel = row.occurrence > 0 && result.customId !== label(line) ? 1 : 0;
    const state = STATES.indexOf(failed ? "failed" : "succeeded");
    const { prompt, completion, cached } = tokens;
    const full = failed ? null : fromCache ? 0 : this.#costOf(row.model, tokens);
    const cost = full !== null && lane ? full * LANE_PRICE_SHARE : full;
    const { offset, bytes } = place;
    const use = [prompt, completion, cached, cost, fromCache ? 1 : 0, lane ?? null];
    this.#place.run(state, file, offset, bytes, relabel, ...use, line);
    return { kind: "row", line };
  }

  /** A result now lies in the partial, under its proper label. */
  moved(places: readonly ({ line: number } & Place)[]): void {
    const { database } = this.#index;
    const move = database.prepare(
      `UPDATE rows SET out_file = ${OUT_FILE.partial}, out_offset = ?, out_bytes = ?, relabel = 0 WHERE line = ?`,
    );
    this.#index.transaction(() => {
      for (const { line, offset, bytes } of places) {
        move.run(offset, bytes, line);
        this.#index.remember("partialEnd", offset + bytes + 1);
      }
    });
  }

  /** True when the output file holds every row's result as it should be. */
  areAllInOutput(): boolean {
    const other = `SELECT 1 FROM rows WHERE out_file <> ${OUT_FILE.output} OR relabel LIMIT 1`;
    return this.#index.database.prepare(other).get() === undefined;
  }

  /** What the rows with an earlier success used, at the prices of today. */
  use(): BatchUse {
    const sums = this.#index.database
      .prepare(
        `SELECT total(prompt_tokens) AS prompt, total(completion_tokens) AS completion,
         total(cached_tokens) AS cached, total(cost_usd) AS costUsd, total(cost_usd IS NULL) AS unpriced,
         total(from_cache) AS cacheHits, total(lane = 'batch') AS batchRows, total(lane = 'flex') AS flexRows,
         total(iif(lane IS NULL, 0, cost_usd)) AS laneUsd
         FROM rows WHERE state = 1`,
      )
      .get();
    const estimated = this.#isEstimated || this.#index.recall("estimated") === true;
    return { ...sums, ...(estimated && { estimated }) } as unknown as BatchUse;
  }

  /** Earlier results of no row, without those that were set aside before. */
  orphanCount(): number {
    const sql = `SELECT count(*) AS n FROM orphans WHERE out_file <> ${OUT_FILE.orphaned}`;
    return (this.#index.database.prepare(sql).get() as { n: number }).n;
  }

  /** Results in input order, page by page; `where` is a condition on the index's rows. */
  *pages(where: string): Generator<ResultPlace[]> {
    const page = this.#index.database.prepare(
      `SELECT line, out_file AS file, out_offset AS offset, out_bytes AS bytes, relabel
       FROM rows WHERE line > ? AND (${where}) ORDER BY line LIMIT ${PAGE_ROWS}`,
    );
    for (let last = 0; ; ) {
      const places = page.all(last) as unknown as ResultPlace[];
      if (places.length === 0) return;
      last = places.at(-1)?.line ?? last;
      yield places;
    }
  }

  /** Paid results of rows the input no longer holds. */
  *orphanPages(): Generator<ResultPlace[]> {
    const page = this.#index.database.prepare(
      `SELECT id, out_file AS file, out_offset AS offset, out_bytes AS bytes
       FROM orphans WHERE id > ? AND succeeded ORDER BY id LIMIT ${PAGE_ROWS}`,
    );
    for (let last: Uint8Array = Buffer.alloc(0); ; ) {
      const places = page.all(last) as unknown as (ResultPlace & { id: Uint8Array })[];
      if (places.length === 0) return;
      last = places.at(-1)?.id ?? last;
      yield places;
    }
  }

  /** The lines to write for malformed rows that lie in no partial yet. */
  *malformedPages(): Generator<{ line: number; output: string }[]> {
    const page = this.#index.database.prepare(
      `SELECT line, output FROM malformed JOIN rows USING (line)
       WHERE line > ? AND out_file <> ${OUT_FILE.partial} ORDER BY line LIMIT ${PAGE_ROWS}`,
    );
    for (let last = 0; ; ) {
      const lines = page.all(last) as { line: number; output: string }[];
      if (lines.length === 0) return;
      last = lines.at(-1)?.line ?? last;
      yield lines;
    }
  }
}

/** Reads result lines by their place; files are opened when first needed. */
export class ResultReader {
  readonly #paths: Record<number, string>;
  readonly #open = new Map<ResultFile, number>();
  readonly #lines: LineCipher;

  constructor({ partial, output, orphaned }: OutputFiles, lines: LineCipher) {
    this.#lines = lines;
    this.#paths = {
      [OUT_FILE.partial]: partial,
      [OUT_FILE.output]: output,
      [OUT_FILE.orphaned]: orphaned,
    };
  }

  /** The line's text in clear, without its line end. */
  text(place: Omit<ResultPlace, "line" | "relabel">): string {
    const line = Buffer.allocUnsafe(place.bytes);
    this.#readInto(line, 0, place);
    return this.#lines.open(line.toString());
  }

  /** The lines of many places as they are stored, in chunks of about 1 MiB; a chunk's memory is reused for the next one. */
  async *chunks(pages: Iterable<ResultPlace[]>, format: OutputFormat = "openai"): AsyncGenerator<Buffer> {
    if (format !== "openai") return yield* this.#translated(pages, format);
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let filled = 0;
    for (const page of pages) {
      for (const place of page) {
        const length = place.bytes + 1;
        if (filled + length > CHUNK_BYTES && filled > 0) {
          yield chunk.subarray(0, filled);
          filled = 0;
        }
        if (length > CHUNK_BYTES) yield this.#readInto(Buffer.allocUnsafe(length), 0, place);
        else {
          this.#readInto(chunk, filled, place);
          filled += length;
        }
      }
      // Reading is synchronous: the lease must be renewed meanwhile.
      await setImmediate();
    }
    if (filled > 0) yield chunk.subarray(0, filled);
  }

  async *#translated(pages: Iterable<ResultPlace[]>, format: OutputFormat): AsyncGenerator<Buffer> {
    for (const page of pages) {
      yield Buffer.from(page.map((place) => `${inFormat(this.text(place), format)}\n`).join(""));
      await setImmediate();
    }
  }

  close(): void {
    for (const handle of this.#open.values()) closeSync(handle);
    this.#open.clear();
  }

  /** Puts the line at `start`, and a line end after it when there is room. */
  #readInto(
    target: Buffer,
    start: number,
    { file, offset, bytes }: Omit<ResultPlace, "line" | "relabel">,
  ): Buffer {
    const path = this.#paths[file] ?? "";
    try {
      const handle = this.#open.get(file) ?? openSync(path, "r");
      this.#open.set(file, handle);
      for (let at = 0; at < bytes; ) {
        const count = readSync(handle, target, start + at, bytes - at, offset + at);
        if (count === 0) throw Object.assign(new Error(), { code: "EIO" });
        at += count;
      }
    } catch (error) {
      throw inputFileError(error, path);
    }
    if (start + bytes < target.length) target[start + bytes] = NEWLINE;
    return target;
  }
}
