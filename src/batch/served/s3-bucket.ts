import type { Readable } from "node:stream";
import type { CompletedPart, ListObjectsV2CommandOutput, S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { ConfigurationError, GlueError } from "../../shared/errors.ts";
import type { S3Place } from "../../shared/file-store-setting.ts";

/* A bucket, by AWS's SDK, which is loaded when it is first asked for. */

const ATTEMPTS = 5;
const CONNECT_MS = 10_000;
/** The longest time in which nothing comes. */
const IDLE_MS = 60_000;

type Sdk = typeof import("@aws-sdk/client-s3");
type Opened = { sdk: Sdk; client: S3Client };

/** The code of the error of an object that is not there. */
export const NO_OBJECT = "no_such_object";

/** Returns the error that says what the store said, or that it did not answer. */
function storeFault(name: string, error: unknown): GlueError {
  const {
    name: word = "unknown",
    code: network,
    $metadata,
  } = error as NodeJS.ErrnoException & { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  const said = status === undefined ? (network ?? word) : word;
  const isRefused = status !== undefined && status < 500 && status !== 429;
  const isOurs = said === "CredentialsProviderError" || isRefused;
  return new GlueError({
    code: ["NoSuchKey", "NotFound"].includes(said) ? NO_OBJECT : "file_store_failed",
    category: isOurs ? "configuration" : "connection",
    message: `the file store ${name} failed: ${said}${status === undefined ? "" : ` (${status})`}`,
    hint: isOurs ? "check the settings GLUELLM_FILE_STORE… and the rights of the key" : "try again",
  });
}

/** All methods but `open` throw a GlueError: `file_store_failed`, or NO_OBJECT. */
export class S3Bucket {
  readonly #place: S3Place;
  #opened: Promise<Opened> | undefined;

  constructor(place: S3Place) {
    this.#place = place;
  }

  get name(): string {
    return `s3://${this.#place.bucket}/${this.#place.prefix}`;
  }

  /** @throws ConfigurationError `missing_package` */
  open(): Promise<Opened> {
    this.#opened ??= load(this.#place);
    return this.#opened;
  }

  async get(key: string, range?: { start: number; end: number }): Promise<Readable> {
    const part = range && { Range: `bytes=${range.start}-${range.end}` };
    const { Body } = await this.#ask(({ sdk, client }) =>
      client.send(new sdk.GetObjectCommand({ ...this.#at(key), ...part })),
    );
    return Body as Readable;
  }

  async put(key: string, body: Buffer): Promise<void> {
    await this.#ask(({ sdk, client }) =>
      client.send(new sdk.PutObjectCommand({ ...this.#at(key), Body: body })),
    );
  }

  /** It is no fault when there is none. */
  async delete(key: string): Promise<void> {
    await this.#ask(({ sdk, client }) => client.send(new sdk.DeleteObjectCommand(this.#at(key))));
  }

  /** Returns the keys that begin with `prefix` and were written before that time, in epoch milliseconds. */
  async keys(prefix: string, before = Number.POSITIVE_INFINITY): Promise<string[]> {
    const keys: string[] = [];
    for (let token: string | undefined; ; ) {
      const asked = { Bucket: this.#place.bucket, Prefix: prefix, ContinuationToken: token };
      const page: ListObjectsV2CommandOutput = await this.#ask(({ sdk, client }) =>
        client.send(new sdk.ListObjectsV2Command(asked)),
      );
      for (const { Key, LastModified } of page.Contents ?? [])
        if (Key !== undefined && (LastModified?.getTime() ?? 0) < before) keys.push(Key);
      token = page.NextContinuationToken;
      if (!page.IsTruncated || token === undefined) return keys;
    }
  }

  /** Returns the id of a new upload in parts. */
  async beginUpload(key: string): Promise<string> {
    const { UploadId = "" } = await this.#ask(({ sdk, client }) =>
      client.send(new sdk.CreateMultipartUploadCommand(this.#at(key))),
    );
    return UploadId;
  }

  async putPart(key: string, UploadId: string, PartNumber: number, Body: Buffer): Promise<CompletedPart> {
    const { ETag } = await this.#ask(({ sdk, client }) =>
      client.send(new sdk.UploadPartCommand({ ...this.#at(key), UploadId, PartNumber, Body })),
    );
    return { ETag, PartNumber };
  }

  async completeUpload(key: string, UploadId: string, Parts: CompletedPart[]): Promise<void> {
    const asked = { ...this.#at(key), UploadId, MultipartUpload: { Parts } };
    await this.#ask(({ sdk, client }) => client.send(new sdk.CompleteMultipartUploadCommand(asked)));
  }

  async abortUpload(key: string, UploadId: string): Promise<void> {
    const asked = { ...this.#at(key), UploadId };
    await this.#ask(({ sdk, client }) => client.send(new sdk.AbortMultipartUploadCommand(asked)));
  }

  /** Aborts the uploads that were begun before that time. */
  async abortUploadsBefore(prefix: string, time: number): Promise<void> {
    const { Uploads = [] } = await this.#ask(({ sdk, client }) =>
      client.send(new sdk.ListMultipartUploadsCommand({ Bucket: this.#place.bucket, Prefix: prefix })),
    );
    for (const { Key, UploadId, Initiated } of Uploads)
      if (Key && UploadId && Initiated && Initiated.getTime() < time) await this.abortUpload(Key, UploadId);
  }

  async #ask<T>(call: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = await this.open();
    try {
      return await call(opened);
    } catch (error) {
      throw storeFault(this.name, error);
    }
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#place.bucket, Key: key };
  }
}

async function load({ region, endpoint, credentials }: S3Place): Promise<Opened> {
  const sdk = await import("@aws-sdk/client-s3").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new ConfigurationError(
      "GLUELLM_FILE_STORE=s3://… needs the package @aws-sdk/client-s3, which is not installed",
      "npm install @aws-sdk/client-s3",
      "missing_package",
    );
  });
  const options: S3ClientConfig = {
    maxAttempts: ATTEMPTS,
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: IDLE_MS },
    // Stores of other makers know no checksums in trailers.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
    ...(credentials && {
      credentials: {
        accessKeyId: credentials.accessKeyId,
        secretAccessKey: credentials.secretAccessKey.reveal(),
      },
    }),
  };
  return { sdk, client: new sdk.S3Client(options) };
}
