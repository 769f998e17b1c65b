import { pipeline } from "node:stream/promises";
import type { FileStore } from "../batch/served/file-store.ts";
import type { FileRecord } from "../store/file-record.ts";
import { ApiError } from "./api-error.ts";
import type { Call } from "./route.ts";

/**
 * Streams a file, or the one range that is asked for; several ranges are answered with the whole file.
 * @throws ApiError 416
 */
export async function sendFile(
  { request, response, signal }: Pick<Call, "request" | "response" | "signal">,
  { id, bytes, filename, sha256 }: FileRecord,
  files: FileStore,
): Promise<undefined> {
  const etag = `"${sha256}"`;
  response.set("accept-ranges", "bytes").set("etag", etag).set("cache-control", "private, no-store");
  const condition = request.headers["if-range"];
  const asked = condition === undefined || condition === etag ? request.range(bytes) : undefined;
  if (asked === -1) {
    response.set("content-range", `bytes */${bytes}`);
    throw new ApiError({
      status: 416,
      code: "range_not_satisfiable",
      message: `the file has ${bytes} bytes, and none in this range`,
    });
  }
  const range = Array.isArray(asked) && asked.type === "bytes" && asked.length === 1 ? asked[0] : undefined;
  const source = bytes === 0 ? undefined : await files.read(id, range);
  // It is data of a caller: no browser shall take it for a page.
  response.attachment(filename).set("content-type", "application/octet-stream");
  response.set("content-length", String(range ? range.end - range.start + 1 : bytes));
  if (range) response.status(206).set("content-range", `bytes ${range.start}-${range.end}/${bytes}`);
  if (!source) response.end();
  else await pipeline(source, response, { signal }).catch(() => response.destroy());
  return undefined;
}
