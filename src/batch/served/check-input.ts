import { open } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { requirePrices } from "../../producers/priced-models.ts";
import { MAX_REQUEST_BYTES } from "../../shared/chat.ts";
import { GlueError } from "../../shared/errors.ts";
import { isObject } from "../../shared/json.ts";
import type { Settings } from "../../shared/settings.ts";
import { type BatchFault, MESSAGES_ENDPOINT } from "../../store/served-batch-record.ts";
import { type FileLine, isBlank, readLines } from "../line-reader.ts";
import { cached, type ResolveModel } from "../resolve-model.ts";
import { RowFault } from "../row-fault.ts";
import { parseRow, tooLongFault } from "../row-format.ts";
import { digest16 } from "../row-identity.ts";
import { calledModels, rowModels } from "../row-models.ts";
import { parseObject } from "../row-object.ts";

/** Faults that are told of one input; its owner mends it by more than these, if there are more. */
const MAX_FAULTS = 100;
/** So long the lines are looked at before others have their turn in the process. */
const SLICE_MS = 20;

export interface InputCheck {
  path: string;
  /** Every line has to be for this one. */
  endpoint: string;
  settings: Settings;
  /** Whether a line whose model has no price is a fault. */
  needsPrices: boolean;
  /** Told as soon as the first fault is found. */
  onFault(faults: readonly BatchFault[]): Promise<void>;
  signal: AbortSignal;
}

/**
 * Reads the input of a batch line by line, without holding it, and returns what is wrong with it: at most 100 faults, each with its
 * line. Nothing is sent of an input that has any.
 * @throws what the signal was aborted with
 */
export async function checkInput({
  path,
  endpoint,
  settings,
  needsPrices,
  onFault,
  signal,
}: InputCheck): Promise<BatchFault[]> {
  const { defaultModel, api } = settings;
  const models = rowModels({ settings, defaultModel, keyNeeded: false });
  const resolve: ResolveModel = (name, vendor) => {
    const model = models(name, vendor);
    if (needsPrices) requirePrices(settings, calledModels(settings, [model]), "the cost limit of the key");
    return model;
  };
  const lines = new LineCheck(endpoint, cached(resolve));
  const faults: BatchFault[] = [];
  const handle = await open(path);
  try {
    let rows = 0;
    let turnAt = performance.now();
    for await (const line of readLines(handle, MAX_REQUEST_BYTES)) {
      if (isBlank(line)) continue;
      rows += 1;
      if (rows > api.maxBatchRows) {
        faults.push(
          wholeFault("too_many_rows", `the file has more than ${api.maxBatchRows} lines: split it`),
        );
        break;
      }
      const fault = lines.look(line);
      if (fault) faults.push(fault);
      if (fault && faults.length === 1) await onFault(faults);
      if (faults.length >= MAX_FAULTS) break;
      if (performance.now() - turnAt < SLICE_MS) continue;
      await setImmediate();
      signal.throwIfAborted();
      turnAt = performance.now();
    }
    if (rows === 0) faults.push(wholeFault("empty_file", "the file has no line"));
    return faults;
  } finally {
    await handle.close();
  }
}

function wholeFault(code: string, message: string): BatchFault {
  return { code, message, line: null, param: null };
}

class LineCheck {
  readonly #endpoint: string;
  readonly #resolveModel: ResolveModel;
  /** By their digest. */
  readonly #lines = new Map<string, number>();

  constructor(endpoint: string, resolveModel: ResolveModel) {
    this.#endpoint = endpoint;
    this.#resolveModel = resolveModel;
  }

  look(line: FileLine): BatchFault | undefined {
    const fault = (code: string, message: string, param: string | null = null): BatchFault => ({
      ...{ code, message, param },
      line: line.line,
    });
    try {
      if (line.tooLong) throw tooLongFault();
      const { custom_id, method, url, ...fields } = parseObject(line.data);
      if (custom_id === undefined || custom_id === null)
        return fault("missing_required_parameter", "custom_id: is missing", "custom_id");
      if (typeof custom_id !== "string")
        return fault("invalid_custom_id", "custom_id: must be a text", "custom_id");
      if (this.#endpoint === MESSAGES_ENDPOINT) {
        if (!isObject(fields.params))
          return fault("missing_required_parameter", "params: must be an object", "params");
        return this.#lookAtRow(line, fault);
      }
      if (method !== "POST") return fault("invalid_method", 'method: must be "POST"', "method");
      if (url !== this.#endpoint)
        return fault("mismatched_endpoint", `url: must be the batch's endpoint, ${this.#endpoint}`, "url");
      if (!isObject(fields.body))
        return fault("missing_required_parameter", "body: must be an object", "body");
      const own = ["prompt", "messages"].find((name) => name in fields);
      if (own) return fault("invalid_request", `${own}: has its place in body`, own);
      return this.#lookAtRow(line, fault);
    } catch (error) {
      if (error instanceof RowFault) return fault(error.code, error.message, paramOf(error.message));
      if (error instanceof GlueError) return fault(error.code, error.message, "body.model");
      throw error;
    }
  }

  #lookAtRow(
    { data, line }: FileLine,
    fault: (code: string, message: string, param: string) => BatchFault,
  ): BatchFault | undefined {
    const { customId, modelName, vendor } = parseRow(data, { format: "jsonl" }, undefined);
    this.#resolveModel(modelName, vendor);
    const key = digest16(customId ?? "").toString("latin1");
    const first = this.#lines.get(key);
    if (first !== undefined)
      return fault("duplicate_custom_id", `custom_id: line ${first} has the same`, "custom_id");
    this.#lines.set(key, line);
    return undefined;
  }
}

/** `the request is wrong at body.stop: …` names what is wrong. */
function paramOf(message: string): string | null {
  return /\b((?:body|params)(?:\.[\w-]+)*)/.exec(message)?.[1] ?? null;
}
