import { APIConnectionError } from "../../shared/errors.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import type { ProviderEntry } from "../../shared/providers.ts";
import { readFault } from "../fault.ts";
import type { HttpPool } from "../http-pool.ts";
import { connectionError, toLLMError } from "../provider-errors.ts";

const TIMEOUT_MS = 120_000;

interface Asked {
  method: "GET" | "POST";
  /** Below the entry's base URL. */
  path: string;
  body?: string;
  contentType?: string;
  headers?: Readonly<Record<string, string>>;
}

/** Whether a request that failed may have been done all the same: no answer came, or not from who decides. */
export function isUnknown(error: unknown): boolean {
  const { status } = fieldsOf(error);
  return error instanceof APIConnectionError || typeof status !== "number" || status >= 500 || status === 408;
}

/** Whether the server has what was asked for no more, or never had it. */
export function isGone(error: unknown): boolean {
  const { status } = fieldsOf(error);
  return status === 404 || status === 410;
}

/** Asks an account's server about its batches, with the same key, headers and proxy as its calls. */
export class BatchExchange {
  readonly #entry: ProviderEntry;
  readonly #pool: HttpPool;

  constructor(entry: ProviderEntry, pool: HttpPool) {
    this.#entry = entry;
    this.#pool = pool;
  }

  /** Returns the JSON of the answer. @throws LLMError */
  async json(asked: Asked): Promise<Record<string, unknown>> {
    return fieldsOf(parseJson(await this.text(asked)));
  }

  /** Returns the text of the answer. @throws LLMError */
  async text({ method, path, body, contentType = "application/json", headers = {} }: Asked): Promise<string> {
    const { baseUrl } = this.#entry;
    const url = baseUrl + path;
    const sent = new Headers({ accept: "application/json" });
    if (body !== undefined) sent.set("content-type", contentType);
    const init = {
      method,
      headers: sent,
      body,
      callHeaders: headers,
      callSignal: AbortSignal.timeout(TIMEOUT_MS),
    };
    let response: Response;
    let text: string;
    try {
      response = await this.#pool.fetch(url, init as RequestInit);
      text = await response.text();
    } catch (error) {
      throw connectionError(error, this.#entry, this.#pool.route);
    }
    if (response.status >= 200 && response.status < 300) return text;
    const { status, headers: answered } = response;
    const requestID = answered.get("x-request-id") ?? answered.get("request-id");
    const fault = readFault({ status, headers: answered, error: parseJson(text) ?? text, requestID });
    if (!fault) throw connectionError(new Error(`status ${status}`), this.#entry, this.#pool.route);
    throw toLLMError(fault, this.#entry, "batches");
  }
}
