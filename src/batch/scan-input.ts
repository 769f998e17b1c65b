import { MAX_QUEUES } from "../shared/catalog.ts";
import { ConfigurationError, GlueError, InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { estimatePromptTokens } from "../shared/token-estimate.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { ScannedRow } from "./index-row.ts";
import type { InputFile } from "./input-file.ts";
import type { InputRow, RowStart } from "./input-row.ts";
import { hashBlocks, type ResolvedName } from "./kept-index.ts";
import { malformedLine } from "./output-line.ts";
import { beginningsOf, LEAST_LINE_BYTES } from "./prompt-beginnings.ts";
import { cached, type ResolveModel } from "./resolve-model.ts";
import { RowFault } from "./row-fault.ts";
import { type ParsedRow, parseRow, requestFor, tooLongFault, type VendorForm } from "./row-format.ts";
import { lineLabel, malformedDigest, rowDigest } from "./row-identity.ts";

/** Whether the model's server takes a request in a vendor's own form; default: it does. */
export type Speaks = (model: ModelRef, form: VendorForm) => boolean;

export interface ScanOptions {
  input: InputFile;
  /** New and empty; holds the rows afterwards. */
  index: DiskIndex;
  resolveModel: ResolveModel;
  speaks?: Speaks;
  /** What all rows say to their providers beside their requests. */
  wire?: WireOptions | undefined;
  /** The field that holds the prompt; absent: OpenAI batch lines, `{prompt}` and `{messages}`. */
  promptField?: string;
  /** Only the first so many rows; absent: all. */
  limitRows?: number;
  /** A malformed line stops the scan instead of being a failed row. */
  strict?: boolean;
}

export interface ScanResult {
  rows: number;
  malformed: number;
  models: ModelRef[];
}

/** Rows per transaction of the index. */
const SLICE_ROWS = 5000;

/** A row that was read: where it goes, or what is wrong with it. */
type FoundRow = ScannedRow & { fileLine: number; next: RowStart; model?: ModelRef; fault?: RowFault };

/** Where a scan is, for a run that goes on with it. */
interface ScanState {
  next: RowStart;
  rows: number;
  malformed: number;
  isComplete: boolean;
}

/**
 * Reads the whole input once before anything is sent and puts its rows into the index.
 * @throws InputError when the file cannot be read, is empty or in another format, a custom_id comes twice, or
 * (`strict`) a line is malformed; what `resolveModel` throws, with file and line.
 */
export async function scanInput(options: ScanOptions): Promise<ScanResult> {
  const scan = new InputScan(options);
  await scan.run();
  return scan.result();
}

/** Reads an input into the index, at once or piece by piece. One whose index is kept goes on where it was. */
export class InputScan {
  readonly #options: ScanOptions;
  readonly #resolve: ResolveModel;
  readonly #names: ResolvedName[];
  #state: ScanState;
  #rows: AsyncGenerator<InputRow, void> | undefined;

  constructor(options: ScanOptions) {
    this.#options = options;
    const { index, input } = options;
    const earlier = index.recall("scan") as ScanState | undefined;
    this.#state = earlier ?? { next: input.beginning, rows: 0, malformed: 0, isComplete: false };
    this.#names = (index.recall("names") ?? []) as ResolvedName[];
    this.#resolve = cached((name, vendor) => {
      const model = options.resolveModel(name, vendor);
      this.#names.push([name ?? null, vendor ?? null, model.key]);
      return model;
    });
  }

  get isComplete(): boolean {
    return this.#state.isComplete;
  }

  result(): ScanResult {
    const { rows, malformed } = this.#state;
    return { rows, malformed, models: [...this.#options.index.models()] };
  }

  /** Reads so many rows more, default all. What comes before a row that stops the scan is in the index. @throws as `scanInput` */
  async run(maxRows = Number.POSITIVE_INFINITY): Promise<void> {
    const { index, input } = this.#options;
    for (let left = maxRows; left > 0 && !this.isComplete; left -= SLICE_ROWS) {
      await this.#slice(Math.min(left, SLICE_ROWS));
      if (index.isKept) await hashBlocks(index, input, this.#state.next.offset);
    }
    if (this.isComplete) await this.stop();
    if (this.isComplete && this.#state.rows === 0) {
      throw new InputError(`${input.path} is empty`, "give it one JSON object per line", "empty_file");
    }
  }

  /** Ends the reading of the file. */
  async stop(): Promise<void> {
    await this.#rows?.return();
    this.#rows = undefined;
  }

  async #slice(maxRows: number): Promise<void> {
    const { index, input, limitRows = Number.POSITIVE_INFINITY } = this.#options;
    this.#rows ??= input.rows(this.#state.next);
    const state = { ...this.#state };
    const found: FoundRow[] = [];
    let isLast = false;
    let fault: unknown;
    try {
      while (found.length < maxRows && !isLast) {
        const { value: row } = await this.#rows.next();
        if (row) found.push(this.#read(row));
        isLast = !row || state.rows + found.length >= limitRows;
      }
    } catch (error) {
      fault = error;
    }
    index.transaction(() => {
      for (const row of found) {
        fault = this.#add(row, state) ?? fault;
        if (state.next !== row.next) break;
      }
      state.isComplete = isLast && !fault;
      index.remember("scan", state);
      index.remember("names", this.#names);
      this.#state = state;
    });
    if (fault) throw fault;
  }

  /** @throws what `resolveModel` throws, with its place; InputError for a malformed row (`strict`) */
  #read(line: InputRow): FoundRow {
    const { input, promptField, strict } = this.#options;
    const { line: number, fileLine, offset, bytes } = line;
    const next = { row: number, offset: line.nextOffset, fileLine: line.nextFileLine };
    const place = { line: number, fileLine, offset, bytes, next };
    let parsed: ParsedRow | undefined;
    try {
      if (line.tooLong) throw tooLongFault();
      parsed = parseRow(line.data, input.form, promptField);
      const { customId } = parsed;
      const model = this.#modelOf(parsed, line);
      const { speaks, wire } = this.#options;
      const request = requestFor(parsed, (form) => speaks?.(model, form) ?? true);
      const digest = rowDigest(model, request, wire);
      const askedTokens = estimatePromptTokens(request);
      const beginnings = bytes < LEAST_LINE_BYTES ? undefined : beginningsOf(request);
      const prompt = { askedTokens, beginnings };
      return { ...place, ...prompt, digest, customId, label: customId ?? lineLabel(number), model };
    } catch (error) {
      if (!(error instanceof RowFault)) throw error;
      if (strict) throw new InputError(`${this.#place(line)}: ${error.message}`, error.hint, error.code);
      const customId = error.customId ?? parsed?.customId;
      const digest = malformedDigest(line.data, bytes);
      return { ...place, digest, customId, label: customId ?? lineLabel(number), fault: error };
    }
  }

  /** Returns what stops the scan at this row, if anything does. */
  #add(row: FoundRow, state: ScanState): InputError | undefined {
    const { index } = this.#options;
    const { label, line, fault, model } = row;
    const other = index.add(row, model);
    if (other !== undefined) return this.#duplicate(row, other);
    state.rows += 1;
    state.next = row.next;
    if (fault) {
      state.malformed += 1;
      const { code, message, hint } = fault;
      const told = { code, message: `${this.#place(row)}: ${message}`, hint };
      index.addMalformed(line, (id) => malformedLine({ id, customId: label }, told));
    }
    if (index.models().length <= MAX_QUEUES) return undefined;
    const place = this.#place(row);
    return new InputError(`${place}: more than ${MAX_QUEUES} different models`, "split the input by model");
  }

  #modelOf({ modelName, vendor }: ParsedRow, line: InputRow): ModelRef {
    try {
      return this.#resolve(modelName, vendor);
    } catch (error) {
      throw withPlace(error, this.#place(line));
    }
  }

  #duplicate({ label, line, fileLine, customId }: FoundRow, other: number): InputError {
    const shown = JSON.stringify(label.slice(0, 64));
    const isGenerated = customId === undefined || (label === lineLabel(other) && other < line);
    const place = this.#place({ line, fileLine });
    return new InputError(
      `${place}: custom_id ${shown} was used before, at ${this.#options.input.place(other)}`,
      isGenerated
        ? 'a row without a custom_id is called "line-<its number>"; give every row its own custom_id'
        : "give every row its own custom_id",
      "duplicate_custom_id",
    );
  }

  #place({ line, fileLine }: { line: number; fileLine: number }): string {
    return this.#options.input.place(line, fileLine);
  }
}

function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof GlueError)) return error;
  const Kind = error instanceof ConfigurationError ? ConfigurationError : InputError;
  return new Kind(`${place}: ${error.message}`, error.hint, error.code);
}
