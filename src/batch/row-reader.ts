import type { ChatRequest } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import type { Endpoint } from "./answer-forms.ts";
import type { IndexRow } from "./index-row.ts";
import type { InputFile } from "./input-file.ts";
import { cached, type ResolveModel } from "./resolve-model.ts";
import { RowFault } from "./row-fault.ts";
import { parseRow, requestFor } from "./row-format.ts";
import { lineLabel, rowDigest, rowId } from "./row-identity.ts";
import type { Speaks } from "./scan-input.ts";

export interface BatchRow {
  line: number;
  id: string;
  /** The row's custom_id, or `line-<n>`. */
  customId: string;
  model: ModelRef;
  endpoint: Endpoint;
  request: ChatRequest;
  /** Size of its line in the input. */
  bytes: number;
}

export interface RowReaderOptions {
  input: InputFile;
  /** The same as for the scan. */
  resolveModel: ResolveModel;
  speaks?: Speaks;
  wire?: WireOptions | undefined;
  promptField?: string;
}

/** Reads scanned rows again, one at a time and by their place, so that no run holds its input in memory. */
export class RowReader {
  readonly #options: RowReaderOptions;

  constructor(options: RowReaderOptions) {
    this.#options = { ...options, resolveModel: cached(options.resolveModel) };
  }

  /** @throws InputError `input_changed` when the line is no longer the one that was scanned. */
  async readRow(row: IndexRow): Promise<BatchRow> {
    const { input, promptField, resolveModel, speaks, wire } = this.#options;
    const data = await input.read(row);
    if (data.length < row.bytes) throw this.#changed(row);
    try {
      const parsed = parseRow(data, input.form, promptField);
      const model = resolveModel(parsed.modelName, parsed.vendor);
      const request = requestFor(parsed, (form) => speaks?.(model, form) ?? true);
      const distinction = parsed.customId === undefined ? row : { customId: parsed.customId };
      const id = rowId(rowDigest(model, request, wire), distinction).toString("hex");
      if (id !== row.id) throw this.#changed(row);
      const { line, bytes } = row;
      return {
        line,
        id,
        bytes,
        model,
        endpoint: parsed.endpoint,
        request,
        customId: parsed.customId ?? lineLabel(line),
      };
    } catch (error) {
      throw error instanceof RowFault ? this.#changed(row) : error;
    }
  }

  #changed({ line }: IndexRow): InputError {
    return new InputError(
      `${this.#options.input.place(line)}: the input changed while the batch was running`,
      "run the same command again: it keeps the results that still belong to a row",
      "input_changed",
    );
  }
}
