import { join, parse } from "node:path";
import { z } from "zod";
import { getSettings } from "../shared/current-settings.ts";
import type { LogFileSettings } from "../shared/log-file-setting.ts";
import { LOG_LEVELS, type LogLevel } from "../shared/log-level.ts";
import {
  bindLogger,
  createLogger,
  type Logger,
  type LoggerSettings,
  type LogTarget,
} from "../shared/logger.ts";
import { redactorOf } from "../shared/redact.ts";
import { hideInLogs } from "../shared/redaction.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Settings } from "../shared/settings.ts";
import { LOG_FILE_NAME } from "../shared/settings-schema.ts";
import { LogFile } from "./log-file.ts";

/** Options of the logs; what is absent is as the settings say (`GLUELLM_LOG_…`). */
export interface LoggingOptions {
  /** How much standard error is told: `trace` to `fatal`, `silent`; default `info`. */
  level?: LogLevel;
  /** Whether standard error has one JSON object per line; default false. The file always has. */
  json?: boolean;
  /** Whether there is a file; default true. */
  file?: boolean;
  /** How much the file is told; default `debug`. */
  fileLevel?: LogLevel;
  /** The folder of the file; default `logs`. */
  dir?: string;
  /** Default `gluellm.log`. */
  fileName?: string;
  /** A file is set aside before it would be larger; 0: never for its size. Default 10 MiB. */
  maxBytes?: number;
  /** How many that were set aside are kept; default 5. */
  backupCount?: number;
  /** Whether the file is also set aside when the day ends; default false. */
  daily?: boolean;
  /** Whether each component has a file of its own too, such as `gluellm-worker.log`; default false. */
  perComponent?: boolean;
}

const optionsSchema: z.ZodType<LoggingOptions> = z.strictObject({
  level: z.enum(LOG_LEVELS).optional(),
  json: z.boolean().optional(),
  file: z.boolean().optional(),
  fileLevel: z.enum(LOG_LEVELS).optional(),
  dir: z.string().min(1).optional(),
  fileName: z.string().regex(LOG_FILE_NAME, "must be a file's name without a folder").optional(),
  maxBytes: z.int().min(0).optional(),
  backupCount: z.int().min(0).max(1000).optional(),
  daily: z.boolean().optional(),
  perComponent: z.boolean().optional(),
});

/** The logs of this process. */
export interface Logging extends Disposable {
  logger: Logger;
  /** Writes what waits to be written; a process that ends by itself does so too. */
  flush(): void;
}

interface Opened {
  logger: Logger;
  files: LogFiles | undefined;
}

let configured: Opened | undefined;
/** That of `getLogger` without `setupLogging`. */
let unconfigured: Logger | undefined;

/**
 * Sets up the logs of this process: standard error, and a file that is set aside when it is full. Clients that are made after it, and
 * `getLogger`, write there. A second call takes the place of the first.
 *
 * ```ts
 * setupLogging({ level: "info", dir: "logs", maxBytes: 10_000_000, backupCount: 5 });
 * ```
 * @throws InputError naming the option that is unknown or wrong
 */
export function setupLogging(given: LoggingOptions = {}): Logging {
  const options = checkWith(optionsSchema, given, "the options of logs", "are");
  const settings = getSettings();
  const { file: isWritten = true, level = settings.log.level ?? "info", json = settings.log.json } = options;
  hideSecretsOf(settings);
  configured?.files?.close();
  const redact = redactorOf(settings.redaction);
  const opened = open({ level, json, redact }, isWritten ? fileOf(options, settings.log.file) : undefined);
  configured = opened;
  return {
    logger: opened.logger,
    flush: () => opened.files?.flush(),
    [Symbol.dispose]: () => {
      if (configured === opened) configured = undefined;
      opened.files?.close();
    },
  };
}

function fileOf(options: LoggingOptions, defaults: LogFileSettings): LogFileSettings {
  const { fileLevel, dir, fileName, maxBytes, backupCount, daily, perComponent } = options;
  return {
    dir: dir ?? defaults.dir,
    fileName: fileName ?? defaults.fileName,
    level: fileLevel ?? defaults.level,
    maxBytes: maxBytes ?? defaults.maxBytes,
    backupCount: backupCount ?? defaults.backupCount,
    daily: daily ?? defaults.daily,
    perComponent: perComponent ?? defaults.perComponent,
  };
}

/**
 * Returns a logger of this process, whose lines name the component. Before `setupLogging` it writes to standard error alone, from
 * LOG_LEVEL on, `info` by default.
 */
export function getLogger(component?: string): Logger {
  unconfigured ??= configured ? undefined : open({ level: "info", ...levelOf(getSettings()) }).logger;
  const logger = configured?.logger ?? (unconfigured as Logger);
  return component === undefined ? logger : bindLogger(logger, { component });
}

function levelOf({ log: { level, json }, redaction }: Settings) {
  return { json, ...(level && { level }), redact: redactorOf(redaction) };
}

/** Returns the logger that `setupLogging` made; else a new one, as the settings say. @param level of standard error where they do not say it */
export function loggerOf(settings: Settings, level: LogLevel): Logger {
  hideSecretsOf(settings);
  if (configured) return configured.logger;
  const { log } = settings;
  const redact = redactorOf(settings.redaction);
  const opened = open(
    { level: log.level ?? level, json: log.json, redact },
    log.hasFile ? log.file : undefined,
  );
  // What the code of tools and workflows logs goes into the file, too.
  if (log.hasFile) configured = opened;
  return opened.logger;
}

function open(console: Omit<LoggerSettings, "more">, file?: LogFileSettings): Opened {
  if (!file) return { logger: createLogger(console), files: undefined };
  const files = new LogFiles(file);
  const more: LogTarget[] = [{ level: file.level, stream: files }];
  return { logger: createLogger({ ...console, more }), files };
}

/** What no line may quote. */
function hideSecretsOf({ providers, apiKey, dashboard, tracing, sentry }: Settings): void {
  for (const { apiKey: key, headers = {} } of Object.values(providers)) {
    hideInLogs(key);
    for (const header of Object.values(headers)) hideInLogs(header);
  }
  for (const header of Object.values(tracing.headers)) hideInLogs(header);
  for (const secret of [apiKey, dashboard.password, tracing.mlflow.token, sentry.dsn]) hideInLogs(secret);
}

/** A component's name as a part of a file's. */
const COMPONENT = /"component":"([\w-]{1,40})"/;
/** Where it stands in a line: after the time and the process. */
const HEAD_CHARS = 300;
const MAX_COMPONENTS = 50;

/** The file of all lines, and that of each component where it is asked for. */
class LogFiles {
  readonly #settings: LogFileSettings;
  readonly #all: LogFile;
  readonly #byComponent = new Map<string, LogFile>();

  constructor(settings: LogFileSettings) {
    this.#settings = settings;
    this.#all = this.#file(settings.fileName);
  }

  write(line: string): void {
    this.#all.write(line);
    if (this.#settings.perComponent) this.#ofComponent(line)?.write(line);
  }

  flush(): void {
    for (const file of [this.#all, ...this.#byComponent.values()]) file.flush();
  }

  close(): void {
    for (const file of [this.#all, ...this.#byComponent.values()]) file.close();
  }

  #ofComponent(line: string): LogFile | undefined {
    const component = COMPONENT.exec(line.slice(0, HEAD_CHARS))?.[1];
    if (component === undefined) return undefined;
    const known = this.#byComponent.get(component);
    if (known || this.#byComponent.size >= MAX_COMPONENTS) return known;
    const { name, ext } = parse(this.#settings.fileName);
    const file = this.#file(`${name}-${component}${ext}`);
    this.#byComponent.set(component, file);
    return file;
  }

  #file(name: string): LogFile {
    return new LogFile({ ...this.#settings, path: join(this.#settings.dir, name) });
  }
}
