import type { IncomingMessage } from "node:http";

export const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** Returns the whole body; `"too_large"` past so many bytes, default 32 MiB, whose rest is thrown away; undefined when the client left. */
export function readBody(
  request: IncomingMessage,
  maxBytes = MAX_BODY_BYTES,
): Promise<Buffer | "too_large" | undefined> {
  if (Number(request.headers["content-length"]) > maxBytes) {
    request.resume();
    return Promise.resolve("too_large");
  }
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else resolve("too_large");
    });
    request.on("end", () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
    request.on("close", () => resolve(undefined));
  });
}
