import { Readable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { requirePrices } from "../../producers/priced-models.ts";
import { GlueError } from "../../shared/errors.ts";
import type { BatchFault, FileCheck } from "../../shared/file-check.ts";
import type { Settings } from "../../shared/settings.ts";
import { LineSplitter } from "../line-reader.ts";
import { cached, type ResolveModel } from "../resolve-model.ts";
import { calledModels, rowModels } from "../row-models.ts";
import { EMPTY, LineCheck, MAX_LINE_BYTES, tooManyRows } from "./line-check.ts";

/* The check of a batch's input: at its upload, while its bytes go by; else by the batch's host, before anything is sent. */

/** So long the lines are looked at before others have their turn in the process. */
const SLICE_MS = 20;

/** By what an input is judged. */
export interface InputRules {
  settings: Settings;
  /** Whether a line whose model has no price is a fault. */
  needsPrices: boolean;
}

/** Returns a look at lines by the configuration of now. @param endpoint that all lines have to be for; default: that of the first line */
export function lineCheck({ settings, needsPrices }: InputRules, endpoint?: string): LineCheck {
  const resolveModel = cached(modelsFor({ settings, needsPrices }));
  return new LineCheck({ endpoint, maxRows: settings.api.maxBatchRows, resolveModel });
}

function modelsFor({ settings, needsPrices }: InputRules): ResolveModel {
  const models = rowModels({ settings, defaultModel: settings.defaultModel, keyNeeded: false });
  return (name, vendor) => {
    const model = models(name, vendor);
    if (needsPrices) requirePrices(settings, calledModels(settings, [model]), "the cost limit of the key");
    return model;
  };
}

/** Passes bytes on, and has their lines looked at; `onFault` is told the first fault as soon as its line has come, and waited for. */
export function checkedOnTheWay(
  source: Readable,
  check: LineCheck,
  onFault: (fault: BatchFault) => void | Promise<void> = () => {},
): Readable {
  const splitter = new LineSplitter(MAX_LINE_BYTES);
  let isTold = false;
  async function* passing(): AsyncGenerator<Buffer> {
    let turnAt = performance.now();
    for await (const chunk of source as AsyncIterable<Buffer>) {
      for (const line of check.isOver ? [] : splitter.take(chunk)) {
        const fault = check.look(line);
        if (fault && !isTold) await onFault(fault);
        isTold ||= fault !== undefined;
        if (check.isOver) break;
        if (performance.now() - turnAt < SLICE_MS) continue;
        await setImmediate();
        turnAt = performance.now();
      }
      yield chunk;
    }
    for (const line of splitter.end()) check.look(line);
  }
  return Readable.from(passing(), { objectMode: false });
}

/**
 * Returns what is wrong with an input by what was found at its upload: at most 100 faults and the first line of each model that
 * cannot be asked. Undefined when that does not say it, and the lines have to be looked at.
 */
export function faultsFound(
  { rows, isCut, endpoint, models, faults }: FileCheck,
  asked: string,
  rules: InputRules,
): BatchFault[] | undefined {
  const { maxBatchRows } = rules.settings.api;
  if (rows === 0) return [EMPTY];
  if (models === null || endpoint !== asked) return undefined;
  const isTooLong = rows > maxBatchRows;
  if (isCut && faults.length === 0 && !isTooLong) return undefined;
  const resolveModel = modelsFor(rules);
  const ofModels = models.flatMap(({ name, vendor, line }) => {
    try {
      resolveModel(name, vendor);
      return [];
    } catch (error) {
      if (!(error instanceof GlueError)) throw error;
      return [{ code: error.code, message: error.message, line, param: "body.model" }];
    }
  });
  const ofLines = [...faults, ...ofModels].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return isTooLong ? [...ofLines, tooManyRows(maxBatchRows)] : ofLines;
}

/**
 * Reads the input of a batch line by line, without holding it, and returns what is wrong with it: at most 100 faults, each with its
 * line. Nothing is sent of an input that has any.
 * @param onFault told as soon as the first fault is found
 * @throws what the signal was aborted with
 */
export async function checkInput(
  input: Readable,
  endpoint: string,
  {
    onFault,
    signal,
    ...rules
  }: InputRules & { onFault(fault: BatchFault): Promise<void>; signal: AbortSignal },
): Promise<BatchFault[]> {
  const check = lineCheck(rules, endpoint);
  for await (const _ of checkedOnTheWay(input, check, onFault)) {
    if (check.isOver) break;
    signal.throwIfAborted();
  }
  return check.faults();
}
