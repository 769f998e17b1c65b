import type { CompletionEvent } from "../calls/completion-result.ts";
import { jsonText, print } from "./output.ts";

/** `events`: each on a line of its own. `output`: the structured answer, once it is whole and fits. */
export type StreamForm = "text" | "events" | "output";

/**
 * Prints an answer's pieces as they come. What is void after a restart stays on the screen: a word on standard error says
 * so.
 */
export async function printStream(events: AsyncIterable<CompletionEvent>, form: StreamForm): Promise<void> {
  for await (const event of events) {
    if (form === "events") process.stdout.write(`${JSON.stringify(event)}\n`);
    else if (form === "text") printEvent(event);
    else if (event.type === "result") {
      process.stdout.write(`${jsonText(event.result.output)}\n`);
    }
  }
}

function printEvent(event: CompletionEvent): void {
  switch (event.type) {
    case "text":
      print(event.text);
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
