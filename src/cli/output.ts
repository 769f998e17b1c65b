/** Everything a terminal acts on rather than shows: control characters but line end and tab, and text direction. */
const CONTROLS = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** Returns text from files, providers and other users' records so that a terminal only shows it. */
export function printable(text: string): string {
  return text.replace(CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Prints a text on standard output as it is, except that a terminal only shows what it would else act on. */
export function print(text: string): void {
  process.stdout.write(process.stdout.isTTY ? printable(text) : text);
}

/** Prints a line with a name in front of its text, such as `cost    $0.01`. */
export function printFact(name: string, text: string): void {
  process.stdout.write(`${name.padEnd(8)}${printable(text)}\n`);
}

/** Returns a value as JSON for people to read. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/**
 * Ends the command when nobody takes its output: quietly when the reader goes away (`| head -1`), with a sentence when
 * the disk is full. Standard error is only for messages: work goes on without it.
 */
export function guardOutput(): void {
  process.stderr.on("error", () => {});
  process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") process.exit(process.exitCode ?? 0);
    process.stderr.write(`error: cannot write to standard output: ${code}\n`);
    process.exit(1);
  });
}
