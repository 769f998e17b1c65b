import { createRequire } from "node:module";
import { type Logger, type LoggerOptions, multistream, pino, stdSerializers } from "pino";
import { type LogFields, logContext } from "./log-context.ts";
import type { LogLevel } from "./log-level.ts";
import type { Redact } from "./redact.ts";
import { HIDDEN, HIDDEN_PATHS, hideFields, hideSecrets } from "./redaction.ts";

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
  /** What the texts of all lines pass; absent: they are as they are. */
  redact?: Redact | undefined;
}

/** The fields that a logger's lines have already, so that the context need not add them. */
const BOUND = Symbol("bound fields");
type Bound = Logger & { [BOUND]?: LogFields };

/**
 * Logs go to standard error: standard output belongs to answers and tables. Errors are logged without their
 * properties, which may quote a request.
 */
export function createLogger({ level, json, more = [], redact }: LoggerSettings): Logger {
  const options: LoggerOptions = {
    level,
    base: { pid: process.pid },
    formatters: { log: hideFields },
    // What a logger is bound to passes by the formatter of lines.
    redact: { paths: [...HIDDEN_PATHS], censor: HIDDEN },
    hooks: { streamWrite: redact ? (line) => redactLine(hideSecrets(line), redact) : hideSecrets },
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

/** Redacts the texts of a line, wherever in it they are. */
function redactLine(line: string, redact: Redact): string {
  try {
    const fields = JSON.parse(line, (_, value) => (typeof value === "string" ? redact(value) : value));
    return `${JSON.stringify(fields)}\n`;
  } catch {
    return redact(line);
  }
}

function consoleStream(json: boolean): LogTarget["stream"] {
  const { stderr } = process;
  if (json) return stderr.isTTY ? stderr : pino.destination({ dest: 2, sync: false });
  let opened: LogTarget["stream"] | undefined;
  return {
    write(line) {
      opened ??= prettyStream(stderr);
      opened.write(line);
    },
  };
}

/** Returns what writes lines for people. Its package is loaded here, by the first line: most commands log nothing. */
function prettyStream(stderr: NodeJS.WriteStream): LogTarget["stream"] {
  return loadPretty()({
    // On a terminal by way of the stream, where a live view makes room for other lines.
    destination: stderr.isTTY ? stderr : 2,
    colorize: stderr.isTTY && stderr.hasColors(),
    ignore: "pid,hostname",
    // With the offset: logs of several machines are read side by side.
    translateTime: "SYS:yyyy-mm-dd HH:MM:ss o",
    singleLine: true,
  });
}

function loadPretty(): typeof import("pino-pretty") {
  try {
    // A bundler puts the package here; an ES module has no `require`.
    return require("pino-pretty");
  } catch {
    return createRequire(import.meta.url)("pino-pretty");
  }
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
