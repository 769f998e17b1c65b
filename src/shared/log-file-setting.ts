import { resolve } from "node:path";
import type { z } from "zod";
import type { LogLevel } from "./log-level.ts";
import type { settingsSchema } from "./settings-schema.ts";

type Values = z.infer<typeof settingsSchema>;

/** The log file. */
export interface LogFileSettings {
  dir: string;
  fileName: string;
  level: LogLevel;
  /** A file of this size is set aside; 0: none is. */
  maxBytes: number;
  /** How many that were set aside are kept. */
  backupCount: number;
  /** Whether a file is also set aside when the day ends. */
  daily: boolean;
  /** Whether each component has a file of its own, beside the one of all. */
  perComponent: boolean;
}

/** One of the variables that name it asks for the file; the others say how it is. */
export function logFileSettings(values: Values, cwd: string): { hasFile: boolean; file: LogFileSettings } {
  const { LOG_DIR: dir, LOG_FILE_NAME: fileName, LOG_FILE_LEVEL: level } = values;
  return {
    hasFile: (dir ?? fileName ?? level) !== undefined,
    file: {
      dir: resolve(cwd, dir ?? "logs"),
      fileName: fileName ?? "gluellm.log",
      level: level ?? "debug",
      maxBytes: values.LOG_MAX_BYTES,
      backupCount: values.LOG_BACKUP_COUNT,
      daily: values.LOG_DAILY,
      perComponent: values.LOG_FILE_PER_COMPONENT,
    },
  };
}
