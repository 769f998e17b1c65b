import { privatePartsOf } from "../shared/error-record.ts";
import { GlueError } from "../shared/errors.ts";
import { printable } from "./output.ts";
import { asTyped } from "./own-command.ts";

/** 0 all rows fine, 1 some rows failed, 2 usage or input, 3 configuration, authentication or account, 4 cost limit. */
export const EXIT = {
  ok: 0,
  rowsFailed: 1,
  input: 2,
  configuration: 3,
  costLimit: 4,
  sighup: 129,
  sigint: 130,
  sigterm: 143,
} as const;

/** The exit code an error stands for. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof GlueError)) return EXIT.rowsFailed;
  if (error.code === "cost_limit") return EXIT.costLimit;
  if (error.category === "input") return EXIT.input;
  const operators = ["configuration", "authentication", "account"];
  return operators.includes(error.category) ? EXIT.configuration : EXIT.rowsFailed;
}

/** What went wrong and what to do, for people. Unknown errors keep their stack: they are bugs. */
export function describeError(error: unknown): string {
  return `error: ${printable(explain(error))}`;
}

/** What the provider said, as a line under an error's message; it is the user's own to see. */
export function saidBy(providerMessage: string | undefined): string {
  return providerMessage ? `\n  the provider said: ${printable(providerMessage)}` : "";
}

function explain(error: unknown): string {
  if (error instanceof GlueError) {
    const said = saidBy(privatePartsOf(error).providerMessage);
    return `${error.message}${said}${error.hint ? `\n  → ${asTyped(error.hint)}` : ""}`;
  }
  if (!(error instanceof Error)) return String(error);
  if (error.name !== "ReplyError") return error.stack ?? error.message;
  // A transaction only says that it was discarded; the command before it says why.
  const { previousErrors: [cause = error] = [] } = error as Error & { previousErrors?: Error[] };
  return `Redis refused a command: ${cause.message}\n  → mend that (its log and INFO memory say more), then run the same command again: finished rows are kept`;
}

/** What a batch says after the first signal. */
export const STOPPING = "stopping: waiting rows are withdrawn, calls in flight finish (again to exit now)";

export interface Interruption {
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP (the terminal was closed). */
  signal: AbortSignal;
  /** 130, 143 or 129 once a signal came, else undefined. */
  readonly exitCode: number | undefined;
  /** Stops listening. */
  release(): void;
}

const CODES: Partial<Record<NodeJS.Signals, number>> = {
  SIGINT: EXIT.sigint,
  SIGTERM: EXIT.sigterm,
  SIGHUP: EXIT.sighup,
};

/**
 * The first signal asks for an orderly end, the second one exits at once.
 * @param firstNotice printed at the first signal; undefined where the progress display shows it
 */
export function onInterruption(firstNotice: string | undefined): Interruption {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listener = (name: NodeJS.Signals) => {
    const code = CODES[name] ?? EXIT.sigterm;
    if (exitCode !== undefined) process.exit(code);
    exitCode = code;
    if (firstNotice) process.stderr.write(`\n${firstNotice}\n`);
    controller.abort(name);
  };
  for (const name of Object.keys(CODES)) process.on(name, listener);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    release: () => {
      for (const name of Object.keys(CODES)) process.off(name, listener);
    },
  };
}
