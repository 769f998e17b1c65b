import { GlueError } from "../shared/errors.ts";

/** 0 all rows fine, 1 some rows failed, 2 usage or input, 3 configuration, authentication or account. */
export const EXIT = { ok: 0, rowsFailed: 1, input: 2, configuration: 3, sigint: 130, sigterm: 143 } as const;

/** The exit code an error stands for. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof GlueError)) return EXIT.rowsFailed;
  if (error.category === "input") return EXIT.input;
  const operators = ["configuration", "authentication", "account"];
  return operators.includes(error.category) ? EXIT.configuration : EXIT.rowsFailed;
}

/** What went wrong and what to do, for people. Unknown errors keep their stack: they are bugs. */
export function describeError(error: unknown): string {
  if (error instanceof GlueError) return `error: ${error.message}${hintOf(error)}`;
  return `error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

function hintOf({ hint }: GlueError): string {
  return hint ? `\n  → ${hint}` : "";
}

export interface Interruption {
  /** Aborts at the first SIGINT or SIGTERM. */
  signal: AbortSignal;
  /** 130 or 143 once a signal came, else undefined. */
  readonly exitCode: number | undefined;
  /** Stops listening. */
  release(): void;
}

/** The first signal asks for an orderly end, the second one exits at once. */
export function onInterruption(firstNotice: string): Interruption {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listener = (name: NodeJS.Signals) => {
    const code = name === "SIGINT" ? EXIT.sigint : EXIT.sigterm;
    if (exitCode !== undefined) process.exit(code);
    exitCode = code;
    process.stderr.write(`\n${firstNotice}\n`);
    controller.abort(name);
  };
  process.on("SIGINT", listener).on("SIGTERM", listener);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    release: () => void process.off("SIGINT", listener).off("SIGTERM", listener),
  };
}
