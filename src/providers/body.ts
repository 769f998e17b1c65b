import { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { MANY_DIGITS, parseExactly } from "../shared/exact-json.ts";
import { nestsTooDeep, parseJson } from "../shared/json.ts";
import type { OnDelta } from "./provider.ts";
import { readEvents } from "./sse.ts";
import { statedError } from "./vendor-words.ts";

/** The event that ends a stream of OpenAI's dialect. */
export const DONE = "[DONE]";

/** Arguments of a tool call that come as an object may have ids of 64 bits, and more decimals than a double has. */
const LARGE_INTEGER = /(?<![\d.])\d{16,}(?![\d.eE])/;
const ARGUMENT_OBJECT = /"(arguments|input|parameters)"\s*:\s*\{/;

/** Reads a stream to its end, and returns its answer; undefined when it ended before its finish reason. */
export type ReadStream = (events: AsyncIterable<unknown>, onDelta: OnDelta) => Promise<unknown>;

/** An error that came as an event of a stream, in the form of the SDKs' errors. */
class StreamFault extends Error {
  override readonly name = "StreamFault";
  readonly headers: Headers;
  readonly error: unknown;

  constructor(headers: Headers, error: unknown) {
    super("the stream broke off with an error");
    this.headers = headers;
    this.error = error;
  }
}

/**
 * Returns the body of an answer, whatever its content type and whatever was asked for: JSON as its value, a stream of events as
 * the answer it adds up to (undefined without its end), anything else as text.
 * @throws SyntaxError for JSON that is cut off, malformed or nested too deeply; StreamFault
 */
export async function readBody(
  response: Response,
  readStream: ReadStream,
  onDelta: OnDelta = () => {},
  onBytes: () => void = () => {},
): Promise<unknown> {
  const chunks = chunksOf(response);
  const decoder = new StringDecoder("utf8");
  let isOver = false;
  const more = async (): Promise<string> => {
    const { value, done = false } = await chunks.next();
    isOver = done;
    if (!value) return decoder.end();
    onBytes();
    return decoder.write(value);
  };
  let body = "";
  // Enough to tell the beginning of JSON from that of an event; servers send white space to keep a connection open.
  // A byte order mark is white space, too.
  while (body.length < 6 && !isOver) body = (body + (await more())).trimStart();
  if (isEventStream(response, body)) {
    async function* texts(): AsyncGenerator<string> {
      try {
        yield body;
        while (!isOver) yield await more();
      } finally {
        await chunks.return?.();
      }
    }
    return readStream(dataOf(readEvents(texts()), response.headers), onDelta);
  }
  while (!isOver) body += await more();
  if (!/^[{[]/.test(body)) return body;
  return parseAnswer(body);
}

/** @throws SyntaxError */
function parseAnswer(text: string): unknown {
  const isExact = MANY_DIGITS.test(text) && (LARGE_INTEGER.test(text) || ARGUMENT_OBJECT.test(text));
  return isExact ? parseExactly(checkDepth(text)) : JSON.parse(checkDepth(text));
}

function chunksOf({ body }: Response): AsyncIterator<Uint8Array, undefined> {
  const chunks = body ?? Readable.from([]);
  return (chunks as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
}

/** @throws SyntaxError */
function checkDepth(text: string): string {
  if (nestsTooDeep(text)) throw new SyntaxError("it is nested too deeply");
  return text;
}

function isEventStream({ headers }: Response, start: string): boolean {
  if (/^(data|event|id|retry|error)?:/.test(start)) return true;
  return /^text\/event-stream/i.test(headers.get("content-type") ?? "") && !/^[{[<]/.test(start);
}

/** The data of events, parsed; of what follows the end nothing is read. */
async function* dataOf(
  events: AsyncIterable<{ event: string; data: string }>,
  headers: Headers,
): AsyncGenerator<unknown> {
  for await (const { event, data } of events) {
    if (data.trim() === DONE) return yield DONE;
    if (data.trim() === "") continue;
    const value: unknown = event === "error" ? (parseJson(data) ?? data) : parseAnswer(data);
    const stated = statedError(value);
    if (event === "error" || stated !== undefined) throw new StreamFault(headers, stated ?? value);
    yield value;
  }
}
