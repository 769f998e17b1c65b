/** Everything a terminal acts on rather than shows: control characters but line end and tab, and text direction. */
const CONTROLS = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** Text from files, providers and other users' records, safe to show on a terminal. */
export function printable(text: string): string {
  return text.replace(CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * A reader that goes away (`| head -1`) ends the command quietly; a full disk ends it with a sentence. Standard error
 * is only for messages: work goes on without it.
 */
export function guardOutput(): void {
  process.stderr.on("error", () => {});
  process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") process.exit(process.exitCode ?? 0);
    process.stderr.write(`error: cannot write to standard output: ${code}\n`);
    process.exit(1);
  });
}
