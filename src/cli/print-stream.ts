import type { CompletionEvent } from "../client/completion-result.ts";
import { printable } from "./output.ts";

/**
 * Prints an answer's pieces as they come; with `asJson` each event on a line of its own. What is void after a restart
 * stays on the screen: a word on standard error says so.
 */
export async function printStream(events: AsyncIterable<CompletionEvent>, asJson: boolean): Promise<void> {
  for await (const event of events) {
    if (asJson) process.stdout.write(`${JSON.stringify(event)}\n`);
    else print(event);
  }
}

function print(event: CompletionEvent): void {
  switch (event.type) {
    case "text":
      process.stdout.write(process.stdout.isTTY ? printable(event.text) : event.text);
      break;
    case "restart":
      process.stdout.write("\n");
      process.stderr.write("[restarted]\n");
      break;
    case "turn":
    case "result":
      process.stdout.write("\n");
  }
}
