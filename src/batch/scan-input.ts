import { MAX_QUEUES } from "../shared/catalog.ts";
import { ConfigurationError, GlueError, InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { DiskIndex, ScannedRow } from "./disk-index.ts";
import type { InputFile, InputRow } from "./input-file.ts";
import { malformedLine } from "./output-line.ts";
import { RowFault } from "./row-fault.ts";
import { type ParsedRow, parseRow, tooLongFault, type Vendor } from "./row-format.ts";
import { lineLabel, malformedDigest, rowDigest } from "./row-identity.ts";

/**
 * The model a row goes to, from the name it gives, if any.
 * @throws InputError or ConfigurationError when there is no such model, provider or key: nothing may be sent.
 */
export type ResolveModel = (name: string | undefined, vendor?: Vendor) => ModelRef;

export interface ScanOptions {
  input: InputFile;
  /** New and empty; holds the rows afterwards. */
  index: DiskIndex;
  resolveModel: ResolveModel;
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
const COMMIT_ROWS = 5000;

/**
 * Reads the whole input once before anything is sent and puts its rows into the index.
 * @throws InputError when the file cannot be read, is empty or in another format, a custom_id comes twice, or
 * (`strict`) a line is malformed; what `resolveModel` throws, with file and line.
 */
export async function scanInput(options: ScanOptions): Promise<ScanResult> {
  const scan = new Scan(options);
  await scan.run();
  return scan.result();
}

class Scan {
  readonly #options: ScanOptions;
  readonly #resolve: ResolveModel;
  #rows = 0;
  #malformed = 0;

  constructor(options: ScanOptions) {
    this.#options = options;
    this.#resolve = cached(options.resolveModel);
  }

  async run(): Promise<void> {
    const { index, input, limitRows = Number.POSITIVE_INFINITY } = this.#options;
    const { database } = index;
    index.guard(() => database.exec("BEGIN"));
    for await (const line of input.rows()) {
      index.guard(() => this.#add(line));
      this.#rows += 1;
      if (this.#rows % COMMIT_ROWS === 0) index.guard(() => database.exec("COMMIT; BEGIN"));
      if (this.#rows >= limitRows) break;
    }
    index.guard(() => database.exec("COMMIT; DROP TABLE occurrences"));
    index.recount();
    if (this.#rows === 0) {
      throw new InputError(`${input.path} is empty`, "give it one JSON object per line", "empty_file");
    }
  }

  result(): ScanResult {
    return { rows: this.#rows, malformed: this.#malformed, models: [...this.#options.index.models()] };
  }

  #add(line: InputRow): void {
    let parsed: ParsedRow | undefined;
    try {
      if (line.tooLong) throw tooLongFault();
      parsed = parseRow(line.data, this.#options.input.form, this.#options.promptField);
      const model = this.#modelOf(parsed, line);
      const digest = rowDigest(model, parsed.request);
      this.#index(line, digest, parsed.customId, model);
    } catch (error) {
      if (!(error instanceof RowFault)) throw error;
      this.#addMalformed(line, error, error.customId ?? parsed?.customId);
    }
  }

  #modelOf({ modelName, vendor }: ParsedRow, line: InputRow): ModelRef {
    try {
      return this.#resolve(modelName, vendor);
    } catch (error) {
      throw withPlace(error, this.#place(line));
    }
  }

  #index(line: InputRow, digest: string, customId: string | undefined, model: ModelRef | undefined): void {
    const { index } = this.#options;
    const row: ScannedRow = { ...line, digest, customId, label: customId ?? lineLabel(line.line) };
    const other = index.add(row, model);
    if (other !== undefined) this.#refuseDuplicate(row.label, line, other, customId);
    if (index.models().length > MAX_QUEUES) {
      throw new InputError(
        `${this.#place(line)}: more than ${MAX_QUEUES} different models`,
        "split the input by model",
      );
    }
  }

  #addMalformed(line: InputRow, fault: RowFault, customId: string | undefined): void {
    const message = `${this.#place(line)}: ${fault.message}`;
    if (this.#options.strict) throw new InputError(message, fault.hint, fault.code);
    this.#index(line, malformedDigest(line.data, line.bytes), customId, undefined);
    const label = customId ?? lineLabel(line.line);
    this.#options.index.addMalformed(line.line, (id) =>
      malformedLine({ id, customId: label }, { code: fault.code, message, hint: fault.hint }),
    );
    this.#malformed += 1;
  }

  #refuseDuplicate(label: string, line: InputRow, other: number, customId: string | undefined): never {
    const shown = JSON.stringify(label.slice(0, 64));
    const isGenerated = customId === undefined || (label === lineLabel(other) && other < line.line);
    throw new InputError(
      `${this.#place(line)}: custom_id ${shown} was used before, at ${this.#options.input.place(other)}`,
      isGenerated
        ? 'a row without a custom_id is called "line-<its number>"; give every row its own custom_id'
        : "give every row its own custom_id",
      "duplicate_custom_id",
    );
  }

  #place({ line, fileLine }: InputRow): string {
    return this.#options.input.place(line, fileLine);
  }
}

function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof GlueError)) return error;
  const Kind = error instanceof ConfigurationError ? ConfigurationError : InputError;
  return new Kind(`${place}: ${error.message}`, error.hint, error.code);
}

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
