import { type Logger, type LoggerOptions, multistream, pino, stdSerializers } from "pino";
import pretty from "pino-pretty";
import { type LogFields, logContext } from "./log-context.ts";
import { HIDDEN, HIDDEN_PATHS, hideFields, hideSecrets } from "./redaction.ts";
import type { LogLevel } from "./settings-schema.ts";

export type { Logger } from "pino";

/** Where lines go beside standard error. */
export interface LogTarget {
  level: LogLevel;
  stream: { write(line: string): void };
}

export interface LoggerSettings {
  /** Of standard error. */
  level: string;
  /** Whether standard error has one JSON object per line. */
  json: boolean;
  more?: readonly LogTarget[];
}

/** The fields that a logger's lines have already, so that the context need not add them. */
const BOUND = Symbol("bound fields");
type Bound = Logger & { [BOUND]?: LogFields };

/**
 * Logs go to standard error: standard output belongs to answers and tables. Errors are logged without their
 * properties, which may quote a request.
 */
export function createLogger({ level, json, more = [] }: LoggerSettings): Logger {
  const options: LoggerOptions = {
    level,
    base: { pid: process.pid },
    formatters: { log: hideFields },
    // What a logger is bound to passes by the formatter of lines.
    redact: { paths: [...HIDDEN_PATHS], censor: HIDDEN },
    hooks: { streamWrite: hideSecrets },
    mixin: (_, __, logger) => unboundContext(logger as Bound),
    serializers: {
      err: (error: Error) => ({
        type: error.name,
        message: error.message,
        stack: stdSerializers.err(error).stack,
      }),
    },
  };
  const console = consoleStream(json);
  if (more.length === 0) return pino(options, console);
  const streams = [{ level: level as LogLevel, stream: console }, ...more].filter(
    (target): target is LogTarget & { level: Exclude<LogLevel, "silent"> } => target.level !== "silent",
  );
  const levels = streams.map((target) => pino.levels.values[target.level] ?? 0);
  return pino(
    { ...options, level: pino.levels.labels[Math.min(...levels)] ?? "silent" },
    multistream(streams),
  );
}

function consoleStream(json: boolean) {
  const { stderr } = process;
  if (json) return stderr.isTTY ? stderr : pino.destination({ dest: 2, sync: false });
  return pretty({
    // On a terminal by way of the stream, where a live view makes room for other lines.
    destination: stderr.isTTY ? stderr : 2,
    colorize: stderr.isTTY && stderr.hasColors(),
    ignore: "pid,hostname",
    // With the offset: logs of several machines are read side by side.
    translateTime: "SYS:yyyy-mm-dd HH:MM:ss o",
    singleLine: true,
  });
}

/** Returns a logger whose lines have these fields, undefined ones left out, also where there is no context. */
export function bindLogger(logger: Logger, fields: LogFields): Logger {
  const given = missing(fields, undefined);
  const bound: Bound = logger.child(given);
  bound[BOUND] = { ...(logger as Bound)[BOUND], ...given };
  return bound;
}

function unboundContext(logger: Bound): object {
  return missing(logContext(), logger[BOUND]);
}

/** Returns what the fields say that is not known yet; for every line of the log, so it makes nothing in between. */
function missing(fields: LogFields | undefined, known: LogFields | undefined): LogFields {
  const found: Record<string, LogFields[string]> = {};
  for (const name in fields) {
    if (fields[name] !== undefined && known?.[name] === undefined) found[name] = fields[name];
  }
  return found;
}
