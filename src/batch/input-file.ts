import { open } from "node:fs/promises";
import { MAX_REQUEST_BYTES } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { readRecords } from "./csv-rows.ts";
import { inputFileError } from "./file-errors.ts";
import { findForm, type InputForm, type InputFormat } from "./input-form.ts";
import type { InputRow, RowStart } from "./input-row.ts";
import { readJsonValues } from "./json-values.ts";
import { type InputHandle, isBlank, readLines } from "./line-reader.ts";

const AHEAD_BYTES = 64 * 1024;

export interface InputFileOptions {
  inputPath: string;
  /** Default: found by the content. */
  inputFormat?: InputFormat;
  promptField?: string;
  /** Opens the file; default: as it is. */
  openInput?: ((path: string) => Promise<InputHandle>) | undefined;
}

/** The file of rows, in whatever form it is. */
export class InputFile {
  readonly path: string;
  readonly form: InputForm;
  readonly handle: InputHandle;
  #ahead = { start: 0, data: Buffer.alloc(0) };

  /** @throws InputError when it cannot be read, or is no file of rows. */
  static async open({
    inputPath: path,
    inputFormat,
    promptField,
    openInput = open,
  }: InputFileOptions): Promise<InputFile> {
    const handle = await reading(path, () => openInput(path));
    try {
      const form = await reading(path, () => findForm(handle, path, inputFormat, promptField));
      return new InputFile(path, handle, form);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  private constructor(path: string, handle: InputHandle, form: InputForm) {
    this.path = path;
    this.handle = handle;
    this.form = form;
  }

  /** The rows from the beginning on, without blank lines. @throws InputError */
  async *rows(start: RowStart = this.beginning): AsyncGenerator<InputRow, void> {
    const rows = this.#readRows(start);
    try {
      for (;;) {
        const next = await reading(this.path, () => rows.next());
        if (next.done) return;
        yield next.value;
      }
    } finally {
      await rows.return();
    }
  }

  /** Returns whether there are so many rows at least. @throws InputError */
  async hasRows(count: number): Promise<boolean> {
    let found = 0;
    for await (const _ of this.rows()) {
      found += 1;
      if (found >= count) return true;
    }
    return false;
  }

  /** The bytes of a row; those after it are read along, since rows are mostly asked for one after the other. @throws InputError */
  async read({ offset, bytes }: { offset: number; bytes: number }): Promise<Buffer> {
    const { start, data } = this.#ahead;
    const from = offset - start;
    if (from >= 0 && from + bytes <= data.length) return data.subarray(from, from + bytes);
    const fresh = Buffer.allocUnsafe(Math.max(bytes, AHEAD_BYTES));
    const { bytesRead } = await reading(this.path, () => this.handle.read(fresh, 0, fresh.length, offset));
    this.#ahead = { start: offset, data: fresh.subarray(0, bytesRead) };
    return this.#ahead.data.subarray(0, bytes);
  }

  /** What a message calls the place of a row. */
  place(line: number, fileLine?: number): string {
    if (this.form.format === "jsonl") return `${this.path}:${line}`;
    return `${this.path}${fileLine === undefined ? "" : `:${fileLine}`}: row ${line}`;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  /** Where the first row is looked for. */
  get beginning(): RowStart {
    return this.form.format === "csv" ? this.form.start : { row: 0, offset: 0, fileLine: 1 };
  }

  #readRows(start: RowStart): AsyncGenerator<InputRow, void> {
    const { form, handle, path } = this;
    if (form.format === "csv") return readRecords(handle, path, MAX_REQUEST_BYTES, form, start);
    if (form.format === "json") return readJsonValues(handle, path, MAX_REQUEST_BYTES, start);
    return rowsOfLines(handle, start);
  }
}

async function* rowsOfLines(handle: InputHandle, start: RowStart): AsyncGenerator<InputRow, void> {
  for await (const line of readLines(handle, MAX_REQUEST_BYTES, start.offset, start.row)) {
    if (!isBlank(line)) yield { ...line, fileLine: line.line, nextFileLine: line.line + 1 };
  }
}

async function reading<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof InputError ? error : inputFileError(error, path);
  }
}
