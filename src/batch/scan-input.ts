import { type FileHandle, open } from "node:fs/promises";
import { MAX_QUEUES } from "../shared/catalog.ts";
import { MAX_REQUEST_BYTES } from "../shared/chat.ts";
import { ConfigurationError, GlueError, InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { DiskIndex, ScannedRow } from "./disk-index.ts";
import { inputFileError } from "./file-errors.ts";
import { type FileLine, isBlank, readLines } from "./line-reader.ts";
import { malformedLine } from "./output-line.ts";
import { RowFault } from "./row-fault.ts";
import { type ParsedRow, parseRow, tooLongFault } from "./row-format.ts";
import { lineLabel, malformedDigest, rowDigest } from "./row-identity.ts";

/**
 * The model a row goes to, from the name it gives, if any.
 * @throws InputError or ConfigurationError when there is no such model, provider or key: nothing may be sent.
 */
export type ResolveModel = (name: string | undefined) => ModelRef;

export interface ScanOptions {
  inputPath: string;
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
  const handle = await open(options.inputPath).catch((error: unknown) => {
    throw inputFileError(error, options.inputPath);
  });
  try {
    const scan = new Scan(options);
    await scan.run(handle);
    return scan.result();
  } finally {
    await handle.close();
  }
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

  async run(handle: FileHandle): Promise<void> {
    const { index, inputPath, limitRows = Number.POSITIVE_INFINITY } = this.#options;
    const { database } = index;
    index.guard(() => database.exec("BEGIN"));
    for await (const line of linesOf(handle, inputPath)) {
      if (isBlank(line)) continue;
      index.guard(() => this.#add(line));
      this.#rows += 1;
      if (this.#rows % COMMIT_ROWS === 0) index.guard(() => database.exec("COMMIT; BEGIN"));
      if (this.#rows >= limitRows) break;
    }
    index.guard(() => database.exec("COMMIT; DROP TABLE occurrences"));
    index.recount();
    if (this.#rows === 0) {
      throw new InputError(`${inputPath} is empty`, "give it one JSON object per line", "empty_file");
    }
  }

  result(): ScanResult {
    return { rows: this.#rows, malformed: this.#malformed, models: [...this.#options.index.models()] };
  }

  #add(line: FileLine): void {
    if (line.line === 1) refuseOtherFormats(line.data, this.#options.inputPath);
    let parsed: ParsedRow | undefined;
    try {
      if (line.tooLong) throw tooLongFault();
      parsed = parseRow(line.data, this.#options.promptField);
      const model = this.#modelOf(parsed, line.line);
      const digest = rowDigest(model, parsed.request);
      this.#index(line, digest, parsed.customId, model);
    } catch (error) {
      if (!(error instanceof RowFault)) throw error;
      this.#addMalformed(line, error, error.customId ?? parsed?.customId);
    }
  }

  #modelOf({ modelName }: ParsedRow, line: number): ModelRef {
    try {
      return this.#resolve(modelName);
    } catch (error) {
      throw withPlace(error, this.#place(line));
    }
  }

  #index(line: FileLine, digest: string, customId: string | undefined, model: ModelRef | undefined): void {
    const { index } = this.#options;
    const row: ScannedRow = { ...line, digest, customId, label: customId ?? lineLabel(line.line) };
    const other = index.add(row, model);
    if (other !== undefined) this.#refuseDuplicate(row.label, line.line, other, customId);
    if (index.models().length > MAX_QUEUES) {
      throw new InputError(
        `${this.#place(line.line)}: more than ${MAX_QUEUES} different models`,
        "split the input by model",
      );
    }
  }

  #addMalformed(line: FileLine, fault: RowFault, customId: string | undefined): void {
    const message = `${this.#place(line.line)}: ${fault.message}`;
    if (this.#options.strict) throw new InputError(message, fault.hint, fault.code);
    this.#index(line, malformedDigest(line.data, line.bytes), customId, undefined);
    const label = customId ?? lineLabel(line.line);
    this.#options.index.addMalformed(line.line, (id) =>
      malformedLine({ id, customId: label }, { code: fault.code, message, hint: fault.hint }),
    );
    this.#malformed += 1;
  }

  #refuseDuplicate(label: string, line: number, other: number, customId: string | undefined): never {
    const shown = JSON.stringify(label.slice(0, 64));
    const isGenerated = customId === undefined || (label === lineLabel(other) && other < line);
    throw new InputError(
      `${this.#place(line)}: custom_id ${shown} was used before, at ${this.#place(other)}`,
      isGenerated
        ? 'a row without a custom_id is called "line-<its number>"; give every row its own custom_id'
        : "give every row its own custom_id",
      "duplicate_custom_id",
    );
  }

  #place(line: number): string {
    return `${this.#options.inputPath}:${line}`;
  }
}

async function* linesOf(handle: FileHandle, path: string): AsyncGenerator<FileLine, void> {
  const lines = readLines(handle, MAX_REQUEST_BYTES);
  for (;;) {
    const next = await lines.next().catch((error: unknown) => {
      throw inputFileError(error, path);
    });
    if (next.done) return;
    yield next.value;
  }
}

function refuseOtherFormats(data: Buffer, path: string): void {
  const start = data.subarray(0, 2).toString("hex");
  if (start === "fffe" || start === "feff")
    throw new InputError(`${path} is UTF-16 text`, "save it as UTF-8");
  if (start === "1f8b") throw new InputError(`${path} is compressed`, `unpack it first: gunzip ${path}`);
}

function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof GlueError)) return error;
  const Kind = error instanceof ConfigurationError ? ConfigurationError : InputError;
  return new Kind(`${place}: ${error.message}`, error.hint, error.code);
}

/** Asks once per name: a million rows name a handful of models. */
export function cached(resolveModel: ResolveModel): ResolveModel {
  const known = new Map<string | undefined, ModelRef>();
  return (name) => {
    const ref = known.get(name) ?? resolveModel(name);
    known.set(name, ref);
    return ref;
  };
}
