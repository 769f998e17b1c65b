import type { Readable } from "node:stream";
import busboy from "busboy";
import type { Request } from "express";
import type { FileStore, SpooledFile } from "../batch/served/file-store.ts";
import { ApiError, badParameter } from "./api-error.ts";

/** A file as it came: stored, and nobody's yet. */
export interface Upload {
  file: SpooledFile & { filename: string };
  /** The other parts by their names: `purpose`, `expires_after[seconds]`. */
  fields: ReadonlyMap<string, string>;
}

const MAX_FIELDS = 20;
const MAX_FIELD_BYTES = 1024;
const MAX_NAME_CHARS = 512;
/** The parts' own heads and borders. */
const OVERHEAD_BYTES = 64 * 1024;

interface UploadOptions {
  files: FileStore;
  /** Under which its bytes are stored. */
  id: string;
  maxBytes: number;
  signal: AbortSignal;
  /** Sees the bytes on their way; `refuse` ends the upload with an error at once. */
  watch(source: Readable, refuse: (error: ApiError) => void): Readable;
}

/**
 * Streams the part `file` of a multipart body into the file store, whatever part comes first, and reads the others.
 * @throws ApiError 400, 413 or 415; nothing stays in the store then
 */
export async function readUpload(
  request: Request,
  { files, id, maxBytes, signal, watch }: UploadOptions,
): Promise<Upload> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes + OVERHEAD_BYTES) throw tooLarge(maxBytes);
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") throw encoded(encoding);
  const parser = parserOf(request, maxBytes);
  const fields = new Map<string, string>();
  let stored: Promise<Upload["file"]> | undefined;
  let fault: ApiError | undefined;
  const refuse = (error: ApiError) => {
    fault ??= error;
    parser.destroy(error);
  };
  parser.on("field", (name, value, { nameTruncated, valueTruncated }) => {
    if (nameTruncated || valueTruncated) refuse(badParameter(name.slice(0, 60), "a form field is too long"));
    else fields.set(name, value);
  });
  for (const event of ["fieldsLimit", "filesLimit", "partsLimit"] as const)
    parser.on(event, () => refuse(badParameter("file", "the form has too many parts")));
  parser.on("file", (name, stream, { filename }) => {
    // The parser's own error says it; one that nobody hears would end the process.
    stream.on("error", () => {});
    if (name !== "file") {
      stream.resume();
      return refuse(badParameter(name.slice(0, 60), "only the part `file` may be a file"));
    }
    stream.once("limit", () => refuse(tooLarge(maxBytes)));
    const named = String(filename ?? "").slice(0, MAX_NAME_CHARS) || "file";
    stored = files.spool(id, watch(stream, refuse)).then((spooled) => ({ ...spooled, filename: named }));
    stored.catch(() => {});
  });
  try {
    await parse(request, parser, signal);
    if (!stored)
      throw badParameter("file", "file: there is no such part", undefined, "missing_required_parameter");
    return { file: await stored, fields };
  } catch (error) {
    await stored?.then(({ discard }) => discard()).catch(() => {});
    throw fault ?? (error instanceof ApiError ? error : broken(error));
  }
}

/** The request stays open when the parser fails: the answer goes the same way. */
async function parse(request: Request, parser: busboy.Busboy, signal: AbortSignal): Promise<void> {
  const abort = () => parser.destroy(new Error("the upload broke off"));
  signal.addEventListener("abort", abort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      parser.once("error", reject).once("close", resolve);
      if (signal.aborted) abort();
      else request.pipe(parser);
    });
  } finally {
    signal.removeEventListener("abort", abort);
    request.unpipe(parser).resume();
  }
}

function encoded(encoding: string): ApiError {
  return new ApiError({
    status: 415,
    code: "encoding_unsupported",
    message: `the body is sent with content-encoding ${encoding.slice(0, 30)}`,
    hint: "send it as it is",
  });
}

function parserOf({ headers }: Request, maxBytes: number): busboy.Busboy {
  if (!/^multipart\/form-data\b/i.test(headers["content-type"] ?? ""))
    throw new ApiError({
      status: 415,
      code: "unsupported_media_type",
      message: "the body is not sent as multipart/form-data",
      hint: "send the file as the part `file`, with the part `purpose`",
    });
  try {
    const limits = {
      fileSize: maxBytes,
      files: 1,
      fields: MAX_FIELDS,
      parts: MAX_FIELDS + 1,
      fieldNameSize: 100,
      fieldSize: MAX_FIELD_BYTES,
      headerPairs: 20,
    };
    return busboy({ headers, limits, defParamCharset: "utf8" });
  } catch {
    throw badParameter("file", "the multipart body has no boundary", undefined, "invalid_request");
  }
}

function broken(error: unknown): unknown {
  const { code, message = "" } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new ApiError({
      status: 507,
      code: "storage_full",
      message: "the file cannot be stored: no space is left",
      retryAfterMs: 60_000,
    });
  const isBody = /unexpected end|malformed|aborted|broke off|premature|header/i.test(`${code} ${message}`);
  return isBody ? badParameter("file", "the multipart body is broken", undefined, "invalid_request") : error;
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError({
    status: 413,
    code: "file_too_large",
    param: "file",
    message: `the file has more than ${maxBytes} bytes`,
    hint: "split it, or raise GLUELLM_API_MAX_FILE_BYTES",
  });
}
