import { symbols } from "pino";
import type { Logger } from "./logger.ts";

const INTERVAL_MS = 10_000;

/** Ids, times and figures, which are no part of a kind. */
const WITH_DIGITS = /\S*\d\S*/g;

type Level = "error" | "warn";

interface Flood {
  count: number;
  last: (seconds: number) => void;
}

/** By where the lines go, so that all parts of a process share it: kinds of faults that were told lately. */
const told = new WeakMap<object, Map<string, Flood>>();

/**
 * Logs a fault of which there may be many: the first of a kind at once, those of the next ten seconds as one line at
 * their end, with the fields of the latest and their `count`.
 * @param fault its text; it tells kinds with one message apart: by its first word, such as Redis' OOM, else by all but ids and figures
 */
export function logFault(
  logger: Logger,
  fault: string,
  fields: object,
  message: string,
  level: Level = "error",
): void {
  const sink = (logger as unknown as Record<symbol, object>)[symbols.streamSym] ?? logger;
  const kinds = told.get(sink) ?? new Map<string, Flood>();
  told.set(sink, kinds);
  const line: object = { fault, ...fields };
  const kind = `${message} ${/^[A-Z]+\b/.exec(fault)?.[0] ?? fault.replace(WITH_DIGITS, "")}`;
  const flood = kinds.get(kind);
  if (flood) {
    flood.count += 1;
    flood.last = (seconds) => logger[level]({ ...line, count: flood.count, seconds }, message);
    return;
  }
  logger[level](line, message);
  begin(kinds, kind);
}

function begin(kinds: Map<string, Flood>, kind: string): void {
  const flood: Flood = { count: 0, last: () => {} };
  kinds.set(kind, flood);
  setTimeout(() => {
    kinds.delete(kind);
    if (flood.count === 0) return;
    flood.last(INTERVAL_MS / 1000);
    begin(kinds, kind);
  }, INTERVAL_MS).unref();
}
