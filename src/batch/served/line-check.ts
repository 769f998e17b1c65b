import { MAX_REQUEST_BYTES } from "../../shared/chat.ts";
import { GlueError } from "../../shared/errors.ts";
import type { BatchFault, FileCheck } from "../../shared/file-check.ts";
import { isObject } from "../../shared/json.ts";
import { MESSAGES_ENDPOINT, SERVED_ENDPOINTS } from "../../store/served-batch-record.ts";
import { type FileLine, isBlank } from "../line-reader.ts";
import type { ResolveModel } from "../resolve-model.ts";
import { RowFault } from "../row-fault.ts";
import { parseFields, tooLongFault } from "../row-format.ts";
import { digest16 } from "../row-identity.ts";
import { parseObject } from "../row-object.ts";

/** Faults that are told of one input; its owner mends it by more than these, if there are more. */
const MAX_FAULTS = 100;
/** Models that are remembered of one input. */
const MAX_MODELS = 100;
/** How files begin that are compressed: gzip, zip, zstd. */
const COMPRESSED = [
  [0x1f, 0x8b],
  [0x50, 0x4b, 0x03, 0x04],
  [0x28, 0xb5, 0x2f, 0xfd],
].map((bytes) => Buffer.from(bytes));

type Model = NonNullable<FileCheck["models"]>[number];

/** The most bytes that a line has. */
export const MAX_LINE_BYTES = MAX_REQUEST_BYTES;

/** Takes the lines of a batch's input one by one, and says what is wrong with each. */
export class LineCheck {
  /** What is wrong whatever models there are. */
  readonly #faults: BatchFault[] = [];
  readonly #modelFaults: BatchFault[] = [];
  readonly #models = new Map<string, Model>();
  /** By the digest of their `custom_id`. */
  readonly #lines = new Map<string, number>();
  readonly #maxRows: number;
  readonly #resolveModel: ResolveModel;
  /** That of the first line, where none is given. */
  #endpoint: string | undefined;
  #rows = 0;
  #isCompressed = false;

  constructor({
    endpoint,
    maxRows,
    resolveModel,
  }: { endpoint: string | undefined; maxRows: number; resolveModel: ResolveModel }) {
    this.#endpoint = endpoint;
    this.#maxRows = maxRows;
    this.#resolveModel = resolveModel;
  }

  /** No further line changes what is told. */
  get isOver(): boolean {
    if (this.#isCompressed || this.#rows > this.#maxRows) return true;
    return this.#faults.length + this.#modelFaults.length >= MAX_FAULTS;
  }

  /** Returns what is wrong with the line. */
  look(line: FileLine): BatchFault | undefined {
    if (this.isOver || isBlank(line)) return undefined;
    this.#rows += 1;
    if (this.#rows > this.#maxRows) return tooManyRows(this.#maxRows);
    const fault = (code: string, message: string, param: string | null = null): BatchFault => ({
      ...{ code, message, param },
      line: line.line,
    });
    try {
      const found = this.#lookAt(line, fault);
      if (found) this.#faults.push(found);
      return found;
    } catch (error) {
      if (error instanceof RowFault) {
        const found = fault(error.code, error.message, paramOf(error.message));
        this.#faults.push(found);
        return found;
      }
      if (!(error instanceof GlueError)) throw error;
      const found = fault(error.code, error.message, "body.model");
      this.#modelFaults.push(found);
      return found;
    }
  }

  /** Returns what was found, the first line first. */
  faults(): BatchFault[] {
    const all = [...this.#faults, ...this.#modelFaults].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
    if (this.#rows > this.#maxRows) all.push(tooManyRows(this.#maxRows));
    if (this.#rows === 0) all.push(EMPTY);
    return all;
  }

  /** Returns what was found in the words that a file's record keeps. */
  found(): FileCheck {
    return {
      rows: this.#rows,
      isCut: this.isOver,
      endpoint: this.#endpoint ?? null,
      models: this.#models.size > MAX_MODELS ? null : [...this.#models.values()],
      faults: this.#faults,
    };
  }

  #lookAt(
    line: FileLine,
    fault: (code: string, message: string, param?: string) => BatchFault,
  ): BatchFault | undefined {
    this.#isCompressed =
      this.#rows === 1 && COMPRESSED.some((head) => line.data.subarray(0, head.length).equals(head));
    if (this.#isCompressed)
      return fault("compressed_file", "the file is compressed: upload it as plain text");
    if (line.tooLong) throw tooLongFault();
    const fields = parseObject(line.data);
    const { custom_id, method, url, body, params } = fields;
    if (custom_id === undefined || custom_id === null)
      return fault("missing_required_parameter", "custom_id: is missing", "custom_id");
    if (typeof custom_id !== "string")
      return fault("invalid_custom_id", "custom_id: must be a text", "custom_id");
    if (this.#endpoint === MESSAGES_ENDPOINT) {
      if (!isObject(params))
        return fault("missing_required_parameter", "params: must be an object", "params");
      return this.#lookAtRow(line, fields, fault);
    }
    if (method !== "POST") return fault("invalid_method", 'method: must be "POST"', "method");
    if (this.#endpoint === undefined && SERVED_ENDPOINTS.some((served) => served === url))
      this.#endpoint = String(url);
    if (this.#endpoint === undefined)
      return fault("mismatched_endpoint", `url: must be one of ${SERVED_ENDPOINTS.join(", ")}`, "url");
    if (url !== this.#endpoint)
      return fault("mismatched_endpoint", `url: must be the batch's endpoint, ${this.#endpoint}`, "url");
    if (!isObject(body)) return fault("missing_required_parameter", "body: must be an object", "body");
    const own = ["prompt", "messages"].find((name) => name in fields);
    if (own) return fault("invalid_request", `${own}: has its place in body`, own);
    return this.#lookAtRow(line, fields, fault);
  }

  #lookAtRow(
    { line }: FileLine,
    fields: Record<string, unknown>,
    fault: (code: string, message: string, param: string) => BatchFault,
  ): BatchFault | undefined {
    const { customId, modelName, vendor } = parseFields(fields, undefined);
    this.#lookAtModel({
      ...(modelName !== undefined && { name: modelName }),
      ...(vendor && { vendor }),
      line,
    });
    const key = digest16(customId ?? "").toString("latin1");
    const first = this.#lines.get(key);
    if (first !== undefined)
      return fault("duplicate_custom_id", `custom_id: line ${first} has the same`, "custom_id");
    this.#lines.set(key, line);
    return undefined;
  }

  /** @throws GlueError */
  #lookAtModel(model: Model): void {
    const key = `${model.vendor}:${model.name}`;
    if (!this.#models.has(key) && this.#models.size <= MAX_MODELS) this.#models.set(key, model);
    this.#resolveModel(model.name, model.vendor);
  }
}

/** The fault of an input without lines. */
export const EMPTY: BatchFault = {
  code: "empty_file",
  message: "the file has no line",
  line: null,
  param: null,
};

/** Returns the fault of an input with more lines than a batch may have. */
export function tooManyRows(maxRows: number): BatchFault {
  const message = `the file has more than ${maxRows} lines: split it`;
  return { code: "too_many_rows", message, line: null, param: null };
}

/** `the request is wrong at body.stop: …` names what is wrong. */
function paramOf(message: string): string | null {
  return /\b((?:body|params)(?:\.[\w-]+)*)/.exec(message)?.[1] ?? null;
}
