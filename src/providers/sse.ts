/** An event of a `text/event-stream`. */
export interface ServerSentEvent {
  /** Empty where it has no name. */
  event: string;
  data: string;
}

/**
 * Reads server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them. An event that the end of
 * the stream leaves without its empty line is given, too: servers forget it.
 */
export async function* readEvents(texts: AsyncIterable<string>): AsyncGenerator<ServerSentEvent> {
  let event = "";
  let data: string[] = [];
  for await (const line of linesOf(texts)) {
    if (line !== "") {
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      // llama.cpp states errors in a field of that name.
      if (field === "event" || field === "error") event = field === "error" ? field : value;
      if (field === "data" || field === "error") data.push(value);
      continue;
    }
    if (data.length > 0) yield { event, data: data.join("\n") };
    event = "";
    data = [];
  }
  if (data.length > 0) yield { event, data: data.join("\n") };
}

async function* linesOf(texts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of texts) {
    rest += text;
    if (!/[\r\n]/.test(text)) continue;
    // A carriage return at the end may be the first half of a line's end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    yield* lines;
  }
  yield* rest.split(/\r\n?/);
}
