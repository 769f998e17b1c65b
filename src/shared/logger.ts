import { type Logger, pino, stdSerializers } from "pino";
import pretty from "pino-pretty";

export type { Logger } from "pino";

const SECRET_PATHS = ["apiKey", "*.apiKey", "password", "*.password", "authorization", "*.authorization"];

/**
 * Logs go to standard error: standard output belongs to answers and tables. Errors are logged without their
 * properties, which may quote a request.
 */
export function createLogger({ level, json }: { level: string; json: boolean }): Logger {
  const options = {
    level,
    base: { pid: process.pid },
    redact: { paths: SECRET_PATHS, censor: "[redacted]" },
    serializers: {
      err: (error: Error) => ({
        type: error.name,
        message: error.message,
        stack: stdSerializers.err(error).stack,
      }),
    },
  };
  const { stderr } = process;
  if (json) return pino(options, stderr.isTTY ? stderr : pino.destination({ dest: 2, sync: false }));
  const stream = pretty({
    // On a terminal by way of the stream, where a live view makes room for other lines.
    destination: stderr.isTTY ? stderr : 2,
    colorize: stderr.isTTY && stderr.hasColors(),
    ignore: "pid,hostname",
    // With the offset: logs of several machines are read side by side.
    translateTime: "SYS:yyyy-mm-dd HH:MM:ss o",
    singleLine: true,
  });
  return pino(options, stream);
}
