import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { open, readFile, rename, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import { setTimeout as delay } from "node:timers/promises";
import OpenAI from "openai";
import { BY } from "../batch/lanes/asked-lanes.ts";
import { readDeadline } from "../shared/deadline.ts";
import { ConfigurationError, GlueError, InputError } from "../shared/errors.ts";
import { isObject, parseJson } from "../shared/json.ts";
import { BATCH_ENDS } from "../shared/records.ts";
import type { Settings } from "../shared/settings.ts";
import { EXIT, type Interruption } from "./exit.ts";
import { table } from "./options.ts";
import { jsonText } from "./output.ts";

/* Batches of an API elsewhere, by the same calls that any OpenAI client makes. */

const POLL_MS = 1000;
const HEAD_BYTES = 64 * 1024;

export interface Submission {
  window: string;
  /** Default: that of the first line. */
  endpoint?: string;
  metadata?: Record<string, string>;
  /** When it should be done, as `--by` says it: rows are bought at half the price as far as that allows. */
  by?: string;
}

/** Batches at the address of an API. */
export class RemoteBatches {
  readonly #client: OpenAI;
  readonly #url: string;

  /** @throws InputError for what is no address, ConfigurationError without a key */
  constructor(url: string, { apiKey }: Settings) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url))
      throw new InputError(`--remote ${url} is no address`, "write http://127.0.0.1:4000");
    if (!apiKey)
      throw new ConfigurationError(
        "there is no key for the API",
        "set GLUELLM_API_KEY, or OPENAI_API_KEY to a key that begins with gk_",
        "missing_key",
      );
    this.#url = url.replace(/\/+$/, "").replace(/(\/v1)?$/, "/v1");
    this.#client = new OpenAI({
      baseURL: this.#url,
      apiKey: apiKey.reveal(),
      organization: null,
      project: null,
    });
  }

  /** Uploads a file of OpenAI batch lines and makes a batch of it. Returns the batch's id. */
  async submit(path: string, submission: Submission): Promise<string> {
    const endpoint = submission.endpoint ?? (await endpointOf(path));
    const asked = { ...submission, endpoint, by: timeOf(submission.by) };
    return this.#create(await this.#upload(path), randomUUID(), asked);
  }

  async #upload(path: string): Promise<string> {
    const upload = () => this.#client.files.create({ file: createReadStream(path), purpose: "batch" });
    return (await this.#ask(upload)).id;
  }

  /** The same key and file again are the same batch. */
  async #create(
    fileId: string,
    key: string,
    { window, metadata: given, endpoint, by }: Submission,
  ): Promise<string> {
    const metadata = by === undefined ? given : { ...given, [BY]: by };
    const parameters = {
      input_file_id: fileId,
      endpoint: endpoint as OpenAI.BatchCreateParams["endpoint"],
      // Other windows than OpenAI's are taken too.
      completion_window: window as "24h",
      metadata: metadata ?? null,
    };
    const options = { headers: { "Idempotency-Key": key } };
    return (await this.#ask(() => this.#client.batches.create(parameters, options))).id;
  }

  async list(limit: number): Promise<string> {
    const { data } = await this.#ask(() => this.#client.batches.list({ limit: Math.min(limit, 100) }));
    if (data.length === 0) return "no batches in the last 30 days";
    const rows = data.map(({ id, status, request_counts: counts, created_at, endpoint }) => [
      ...[
        id,
        status,
        String(counts?.completed ?? 0),
        String(counts?.failed ?? 0),
        String(counts?.total ?? 0),
      ],
      new Date(created_at * 1000).toISOString().slice(0, 16).replace("T", " "),
      endpoint,
    ]);
    return table([["ID", "STATUS", "DONE", "FAILED", "TOTAL", "CREATED", "ENDPOINT"], ...rows]);
  }

  async status(id: string): Promise<string> {
    return jsonText(await this.#ask(() => this.#client.batches.retrieve(id)));
  }

  async cancel(id: string): Promise<string> {
    const { status } = await this.#ask(() => this.#client.batches.cancel(id));
    return `batch ${id} is ${status}`;
  }

  /** Writes the results of a batch that has ended: what succeeded to `outputPath`, what failed beside it. Returns the exit code. */
  async download(id: string, outputPath: string): Promise<number> {
    const batch = await this.#ask(() => this.#client.batches.retrieve(id));
    if (!BATCH_ENDS.includes(batch.status))
      throw new InputError(`batch ${id} is ${batch.status}`, "its results are there when it has ended");
    for (const { line, message, param } of batch.errors?.data ?? [])
      process.stderr.write(`${line ? `line ${line}: ` : ""}${message}${param ? ` (${param})` : ""}\n`);
    const errorsPath = `${outputPath.replace(/\.jsonl$/, "")}.errors.jsonl`;
    await this.#save(batch.output_file_id, outputPath);
    await this.#save(batch.error_file_id, errorsPath);
    const { completed = 0, failed = 0, total = 0 } = batch.request_counts ?? {};
    process.stderr.write(
      `batch ${id} is ${batch.status}: ${completed} of ${total} rows succeeded, ${failed} failed\n`,
    );
    if (batch.output_file_id) process.stderr.write(`results: ${outputPath}\n`);
    if (batch.error_file_id) process.stderr.write(`failures: ${errorsPath}\n`);
    return batch.status === "completed" && failed === 0 ? EXIT.ok : EXIT.rowsFailed;
  }

  /**
   * Submits a file, waits for the end and downloads the results. The same again, also after the end, goes on with the same batch
   * and pays for nothing again: `OUT.jsonl.remote` names it. A changed file is a batch of its own. Returns the exit code.
   */
  async run(
    path: string,
    outputPath: string,
    submission: Submission,
    interruption: Interruption,
  ): Promise<number> {
    const statePath = `${outputPath}.remote`;
    const endpoint = submission.endpoint ?? (await endpointOf(path));
    const input = await digestOf(path);
    let state = await readState(statePath);
    if (state.url !== undefined && state.url !== this.#url)
      throw new InputError(
        `${statePath} names a batch at ${state.url}`,
        "go on with that one, or remove the file",
      );
    if (state.input !== input) state = {};
    const keep = async (more: object) => {
      state = { ...state, ...more };
      // A torn file would name no batch, and the same command would make another one.
      const temporary = `${statePath}.tmp`;
      await writeFile(temporary, jsonText(state), { mode: 0o600, flush: true });
      await rename(temporary, statePath);
    };
    // Kept before the batch is made: a command that dies in between finds the batch that it made.
    if (state.file === undefined)
      await keep({
        ...{ url: this.#url, input, by: timeOf(submission.by) },
        ...{ file: await this.#upload(path), key: randomUUID() },
      });
    if (state.id === undefined) {
      // The time of the first command: the same words mean another one later.
      const by = typeof state.by === "string" ? state.by : undefined;
      const id = await this.#create(String(state.file), String(state.key), { ...submission, endpoint, by });
      await keep({ id });
    }
    const id = String(state.id);
    process.stderr.write(`batch ${id} at ${this.#url}\n`);
    if (!(await this.#wait(id, interruption.signal))) {
      process.stderr.write(
        `the batch goes on; the same command waits for it again, gluellm batch cancel ${id} --remote ends it\n`,
      );
      return interruption.exitCode ?? EXIT.sigint;
    }
    const code = await this.download(id, outputPath);
    if (code !== EXIT.ok)
      process.stderr.write(
        `${statePath} names this batch; without that file the command submits a new one\n`,
      );
    return code;
  }

  /** Returns false when the signal aborts first. */
  async #wait(id: string, signal: AbortSignal): Promise<boolean> {
    for (let told = ""; ; ) {
      const { status, request_counts: counts } = await this.#ask(() => this.#client.batches.retrieve(id));
      const line = `${status}: ${(counts?.completed ?? 0) + (counts?.failed ?? 0)} of ${counts?.total ?? 0} rows done`;
      if (line !== told) process.stderr.write(`${line}\n`);
      told = line;
      if (BATCH_ENDS.includes(status)) return true;
      await delay(POLL_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) return false;
    }
  }

  async #save(fileId: string | null | undefined, path: string): Promise<void> {
    if (!fileId) return;
    const { body } = await this.#ask(() => this.#client.files.content(fileId));
    const temporary = `${path}.tmp`;
    await pipeline(Readable.fromWeb(body as ReadableStream), createWriteStream(temporary, { flush: true }));
    await rename(temporary, path);
  }

  /** @throws GlueError with what the API says */
  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof OpenAI.APIError)) throw error;
      const { status, code } = error;
      if (status === undefined)
        throw new ConfigurationError(
          `${this.#url} cannot be reached`,
          "check --remote, and that the API runs",
          "unreachable",
        );
      const message = error.message.replace(/^\d{3} /, "");
      if (status === 401 || status === 403)
        throw new ConfigurationError(message, "check the key", String(code));
      if (status < 500) throw new InputError(message, undefined, String(code));
      throw new GlueError({ code: String(code), category: "connection", message, hint: "try again" });
    }
  }
}

/** @throws InputError for a file that is none of ours: to take it for none would make a second batch of the same rows */
/** What `--by` names, as every machine reads it. */
function timeOf(by: string | undefined): string | undefined {
  return by === undefined ? undefined : new Date(readDeadline(by)).toISOString();
}

async function readState(path: string): Promise<Record<string, unknown>> {
  if (!existsSync(path)) return {};
  const state = parseJson(await readFile(path, "utf8"));
  if (isObject(state)) return state;
  throw new InputError(
    `${path} does not say which batch it is about: it is no JSON object`,
    "remove it to submit a new batch; gluellm batch list --remote shows those there are",
    "broken_state",
  );
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** @throws InputError when the first line is no OpenAI batch line */
async function endpointOf(path: string): Promise<string> {
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(`cannot read ${path}: ${error.code}`, "check the path of the input file");
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const url = /"url"\s*:\s*"(\/v1\/[\w/]{1,40})"/.exec(
      buffer.toString("utf8", 0, bytesRead).split("\n", 1)[0] ?? "",
    )?.[1];
    if (url !== undefined) return url;
  } finally {
    await handle.close();
  }
  throw new InputError(
    `the first line of ${path} is no OpenAI batch line`,
    'an API takes lines like {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {…}}',
  );
}
