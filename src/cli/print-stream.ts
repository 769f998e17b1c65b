import type { CompletionEvent } from "../calls/completion-result.ts";
import { printable } from "./output.ts";

/** `events`: each on a line of its own. `output`: the structured answer, once it is whole and fits. */
export type StreamForm = "text" | "events" | "output";

/**
 * Prints an answer's pieces as they come. What is void after a restart stays on the screen: a word on standard error says
 * so.
 */
export async function printStream(events: AsyncIterable<CompletionEvent>, form: StreamForm): Promise<void> {
  for await (const event of events) {
    if (form === "events") process.stdout.write(`${JSON.stringify(event)}\n`);
    else if (form === "text") print(event);
    else if (event.type === "result") {
      process.stdout.write(`${JSON.stringify(event.result.output, null, 2)}\n`);
    }
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
