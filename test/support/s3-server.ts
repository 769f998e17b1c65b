import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished } from "vitest";

/** What is wrong with the next requests that fit. */
interface S3Fault {
  method: string;
  /** Of path and query. */
  path: RegExp;
  times: number;
  /** Answered in its place. */
  status?: number;
  /** Waited before it is answered. */
  delayMs?: number;
  /** The answer breaks off after so many bytes. */
  cutAt?: number;
}

export interface S3Server {
  url: string;
  /** By key, without the bucket. */
  objects: Map<string, Buffer>;
  /** Uploads in parts that nobody has ended. */
  uploads: Map<string, { key: string; parts: Map<number, Buffer> }>;
  faults: S3Fault[];
  /** Method and path of each request. */
  requests: string[];
}

const KEY_ID = "key-of-the-test";
const BUCKET = "bucket";
/** The environment of processes whose files are in it. */
export function s3Env({ url }: S3Server, prefix = "some/prefix"): Record<string, string> {
  return {
    GLUELLM_FILE_STORE: `s3://${BUCKET}/${prefix}`,
    GLUELLM_FILE_STORE_ENDPOINT: url,
    GLUELLM_FILE_STORE_ACCESS_KEY_ID: KEY_ID,
    GLUELLM_FILE_STORE_SECRET_ACCESS_KEY: "secret-of-the-test",
  };
}

const PAGE = 3;

/** Starts a server that speaks as much of S3 as a file store needs, with pages of three keys; ended with the test. */
export async function startS3Server(): Promise<S3Server> {
  const objects: S3Server["objects"] = new Map();
  const written = new Map<string, Date>();
  const uploads: S3Server["uploads"] = new Map();
  const faults: S3Fault[] = [];
  const requests: string[] = [];
  const put = (key: string, body: Buffer) => {
    objects.set(key, body);
    written.set(key, new Date());
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "/", headers } = request;
    const body = Buffer.concat(await request.toArray());
    requests.push(`${method} ${url}`);
    const fault = faults.find(
      ({ times, ...each }) => times > 0 && each.method === method && each.path.test(url),
    );
    if (fault) {
      fault.times -= 1;
      if (fault.delayMs !== undefined) await delay(fault.delayMs);
      if (fault.status !== undefined) return fail(response, fault.status, "InternalError");
    }
    if (!headers.authorization?.includes(`Credential=${KEY_ID}/`)) return fail(response, 403, "AccessDenied");
    const told = String(headers["x-amz-content-sha256"]);
    if (/^[0-9a-f]{64}$/.test(told) && told !== createHash("sha256").update(body).digest("hex"))
      return fail(response, 400, "XAmzContentSHA256Mismatch");
    const { pathname, searchParams } = new URL(url, "http://s3");
    const [, bucket, ...rest] = decodeURIComponent(pathname).split("/");
    const key = rest.join("/");
    if (bucket !== BUCKET) return fail(response, 404, "NoSuchBucket");
    const uploadId = searchParams.get("uploadId") ?? "";
    const upload = uploads.get(uploadId);
    if (uploadId !== "" && upload?.key !== key) return fail(response, 404, "NoSuchUpload");
    if (key === "") return list(searchParams, response);
    if (method === "POST" && searchParams.has("uploads")) {
      const id = randomUUID();
      uploads.set(id, { key, parts: new Map() });
      return xml(
        response,
        `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (upload && method === "PUT") {
      upload.parts.set(Number(searchParams.get("partNumber")), body);
      return void response.setHeader("etag", etagOf(body)).end();
    }
    if (upload && method === "POST") {
      const tags = [...body.toString().matchAll(/<ETag>(?:&quot;|")?([0-9a-f]+)(?:&quot;|")?<\/ETag>/g)];
      const parts = [...upload.parts].sort(([a], [b]) => a - b).map(([, part]) => part);
      if (tags.map(([, tag]) => `"${tag}"`).join() !== parts.map(etagOf).join())
        return fail(response, 400, "InvalidPart");
      if (parts.slice(0, -1).some(({ length }) => length < 5 * 1024 * 1024))
        return fail(response, 400, "EntityTooSmall");
      put(key, Buffer.concat(parts));
      uploads.delete(uploadId);
      return xml(response, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>");
    }
    if (method === "DELETE") {
      if (upload) uploads.delete(uploadId);
      else objects.delete(key);
      return void response.writeHead(204).end();
    }
    if (method === "PUT") {
      put(key, body);
      return void response.setHeader("etag", etagOf(body)).end();
    }
    return send(objects.get(key), headers.range, response, fault?.cutAt);
  }

  function list(query: URLSearchParams, response: ServerResponse): void {
    const prefix = query.get("prefix") ?? "";
    if (query.has("uploads")) {
      const found = [...uploads].filter(([, { key }]) => key.startsWith(prefix));
      const parts = found.map(
        ([id, { key }]) =>
          `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>`,
      );
      xml(response, `<ListMultipartUploadsResult>${parts.join("")}</ListMultipartUploadsResult>`);
      return;
    }
    const after = query.get("continuation-token") ?? "";
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const page = keys.slice(0, PAGE);
    const parts = page.map(
      (key) =>
        `<Contents><Key>${key}</Key><LastModified>${written.get(key)?.toISOString()}</LastModified></Contents>`,
    );
    const more = keys.length > PAGE ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
    const isCut = `<IsTruncated>${keys.length > PAGE}</IsTruncated>`;
    xml(response, `<ListBucketResult>${isCut}${parts.join("")}${more}</ListBucketResult>`);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, objects, uploads, faults, requests };
}

function send(
  body: Buffer | undefined,
  range: string | undefined,
  response: ServerResponse,
  cutAt?: number,
): void {
  if (!body) {
    fail(response, 404, "NoSuchKey");
    return;
  }
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  const part = start === undefined ? body : body.subarray(Number(start), Number(end) + 1);
  response.writeHead(start === undefined ? 200 : 206, { "content-length": part.length });
  if (cutAt === undefined) response.end(part);
  else response.write(part.subarray(0, cutAt), () => response.destroy());
}

function etagOf(body: Buffer): string {
  return `"${createHash("md5").update(body).digest("hex")}"`;
}

function xml(response: ServerResponse, text: string): void {
  response.setHeader("content-type", "application/xml").end(`<?xml version="1.0"?>${text}`);
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.statusCode = status;
  xml(response, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`);
}
