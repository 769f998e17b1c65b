import type { ServerResponse } from "node:http";

const SIMULATOR_HEADERS = { "x-gluellm-simulator": "1" };

/** Waits `durationMs`, or until the connection closes; returns whether there is still a client to answer. */
export function waitWhileOpen(response: ServerResponse, durationMs: number): Promise<boolean> {
  if (response.closed) return Promise.resolve(false);
  if (durationMs <= 0) return Promise.resolve(true);
  return new Promise((resolve) => {
    const closed = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      response.off("close", closed);
      resolve(true);
    }, durationMs);
    response.once("close", closed);
  });
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  send(response, status, "application/json", JSON.stringify(body), headers);
}

export function send(
  response: ServerResponse,
  status: number,
  contentType: string,
  text: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(text),
    ...SIMULATOR_HEADERS,
    ...headers,
  });
  response.end(text);
}

/**
 * Sends SSE texts evenly over `durationMs`, and ends.
 * @returns when all is written, or the client has gone
 */
export async function sendStream(
  response: ServerResponse,
  texts: string[],
  durationMs: number,
  headers: Record<string, string>,
): Promise<void> {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    ...SIMULATOR_HEADERS,
    ...headers,
  });
  // A timer is no finer than a millisecond, and one event each 5 ms looks continuous.
  const steps = Math.max(1, Math.min(texts.length, Math.floor(durationMs / 5)));
  const perStep = Math.ceil(texts.length / steps);
  for (let start = 0; start < texts.length; start += perStep) {
    if (start > 0 && !(await waitWhileOpen(response, durationMs / steps))) return;
    response.write(texts.slice(start, start + perStep).join(""));
  }
  response.end();
}
