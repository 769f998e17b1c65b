import type { IncomingMessage } from "node:http";
import busboy from "busboy";
import { InvalidCallError } from "../invalid-call.ts";
import { readable } from "./plan.ts";
import type { ProviderBatches } from "./provider-batches.ts";

export function notFound(message: string): InvalidCallError {
  return new InvalidCallError(message, undefined, 404);
}

/** An account's files. */
export class Files {
  readonly #batches: ProviderBatches;
  readonly #account: string;

  constructor(batches: ProviderBatches, account: string) {
    this.#batches = batches;
    this.#account = account;
  }

  add(name: string, purpose: string, text: string): string {
    const id = this.#batches.newId("file-");
    this.#batches.files.set(id, { account: this.#account, name, purpose, text, createdAt: Date.now() });
    return id;
  }

  get(id: string) {
    const file = this.#batches.files.get(id);
    if (file?.account !== this.#account) throw notFound(`No such File object: ${id}`);
    return file;
  }

  text(id: string): string {
    const { text, purpose } = this.get(id);
    if (purpose === "batch_output" && this.#batches.plan.areResultsGone)
      throw notFound(`No such File object: ${id}`);
    return purpose === "batch_output" ? readable(this.#batches.plan, text) : text;
  }

  remove(id: string): object {
    this.get(id);
    this.#batches.files.delete(id);
    return { id, object: "file", deleted: true };
  }

  view(id: string): object {
    const { name, purpose, text, createdAt } = this.get(id);
    return {
      id,
      object: "file",
      bytes: Buffer.byteLength(text),
      created_at: Math.floor(createdAt / 1000),
      filename: name,
      purpose,
      status: "processed",
      expires_at: null,
    };
  }
}

/** Keeps the file of an upload, and returns its id. @throws InvalidCallError when it is no form. */
export function receiveFile(files: Files, request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let name = "";
    let purpose = "";
    const form = busboy({ headers: request.headers });
    form.on("field", (field, value) => {
      if (field === "purpose") purpose = value;
    });
    form.on("file", (_, stream, { filename }) => {
      name = filename;
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    });
    form.on("error", (error) => reject(new InvalidCallError(String(error))));
    form.on("close", () => resolve(files.add(name, purpose, Buffer.concat(chunks).toString())));
    request.pipe(form);
  });
}
