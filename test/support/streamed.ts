import type { CompletionEvent } from "../../src/index.ts";

export const REPLY = "Ünïcödé 🌍🌞 text, 漢字 and all. ".repeat(6);
/** Its answer begins after half of the time and lasts for the other half. */
export const ask = (what: string, latencyMs = 600) =>
  `${what}\n#sim ${JSON.stringify({ reply: REPLY, latencyMs })}`;

export async function collect(events: AsyncIterable<CompletionEvent>): Promise<CompletionEvent[]> {
  const all: CompletionEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** The text since the last restart or turn, and the result's. */
export function outcome(events: CompletionEvent[]) {
  let text = "";
  let pieces = 0;
  for (const event of events) {
    if (event.type === "text") {
      text += event.text;
      pieces += 1;
    } else if (event.type === "restart" || event.type === "turn") text = "";
  }
  const last = events.at(-1);
  return { text, pieces, result: last?.type === "result" ? last.result.finalResponse : undefined };
}

export const whole = { text: REPLY, result: REPLY };
