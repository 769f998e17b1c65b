import { parseJson } from "../shared/json.ts";
import { answerFault, errorAnswer, requestId } from "./wrong-answer.ts";

/** The longest answer of a server over HTTP. */
const MAX_BYTES = 32 * 1024 * 1024;
const TOO_LONG = `the server's answer is longer than ${MAX_BYTES} bytes and was cut`;

/**
 * As `fetch`, for the SDK, which passes over what it cannot read and what is cut: a request of JSON-RPC whose answer is no response, or
 * longer than 32 MiB, gets an error as its answer. What is longer and answers none is an error at its end.
 */
export async function boundedFetch(url: string | URL, init?: RequestInit): Promise<Response> {
  const response = await fetch(url, init);
  if (!response.body) return response;
  const { status, statusText, headers } = response;
  const id = response.ok ? requestId(init?.body) : undefined;
  const isEvents = headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  const bounded = response.body.pipeThrough(
    id !== undefined && isEvents ? checkedEvents(id) : atMost(MAX_BYTES),
  );
  const whole = new Response(bounded, { status, statusText, headers });
  if (id === undefined || isEvents || !headers.get("content-type")?.startsWith("application/json"))
    return whole;
  const text = await whole.text().catch((error: Error) => {
    if (error.message !== TOO_LONG) throw error;
    return JSON.stringify(errorAnswer(id, TOO_LONG));
  });
  const fault = answerFault(parseJson(text), id);
  const answer = fault === undefined ? text : JSON.stringify(errorAnswer(id, fault));
  return new Response(answer, { status, statusText, headers });
}

function atMost(maxBytes: number): TransformStream<Uint8Array, Uint8Array> {
  let bytes = 0;
  return new TransformStream({
    transform: (chunk, controller) => {
      bytes += chunk.length;
      if (bytes > maxBytes) controller.error(new Error(TOO_LONG));
      else controller.enqueue(chunk);
    },
  });
}

/** Passes on events, line by line, with an error in place of a wrong answer to the request. */
function checkedEvents(id: string | number): TransformStream<Uint8Array, Uint8Array> {
  const [decoder, encoder] = [new TextDecoder(), new TextEncoder()];
  let bytes = 0;
  let line: string[] = [];
  const checked = (text: string) =>
    text.replaceAll(/^data:(.*)$/gm, (same, data: string) => {
      const fault = answerFault(parseJson(data), id);
      return fault === undefined ? same : `data: ${JSON.stringify(errorAnswer(id, fault))}`;
    });
  return new TransformStream({
    transform: (chunk, controller) => {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) {
        const event = `data: ${JSON.stringify(errorAnswer(id, TOO_LONG))}`;
        controller.enqueue(encoder.encode(`\n\n${event}\n\n`));
        controller.terminate();
        return;
      }
      const text = decoder.decode(chunk, { stream: true });
      const end = text.lastIndexOf("\n") + 1;
      if (end > 0) {
        controller.enqueue(encoder.encode(checked(`${line.join("")}${text.slice(0, end)}`)));
        line = [];
      }
      line.push(text.slice(end));
    },
    flush: (controller) => controller.enqueue(encoder.encode(checked(line.join("")))),
  });
}
