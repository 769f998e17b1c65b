import { isObject, parseJson } from "../../shared/json.ts";

/** An API as somebody with a key sees it. */
export interface RestAddress {
  /** Without a path: `http://127.0.0.1:4000`. */
  url: string;
  /** The header `authorization` of the caller; undefined where no key is needed. */
  authorization: string | undefined;
}

interface RestCall {
  method: "GET" | "POST";
  /** With its query; ids in it are encoded. */
  path: string;
  body?: object | FormData;
  idempotencyKey?: string | undefined;
}

/** The error of a call that the API refused, in its own words. */
export class RestError extends Error {
  override name = "RestError";
}

/** Calls the REST routes, so that tools of MCP have no way of their own past keys, scopes, limits and tenants. */
export class RestCaller {
  readonly #address: RestAddress;
  readonly #signal: AbortSignal;

  constructor(address: RestAddress, signal: AbortSignal) {
    this.#address = address;
    this.#signal = signal;
  }

  /** Returns the answer's JSON. @throws RestError */
  async call({ method, path, body, idempotencyKey }: RestCall): Promise<Record<string, unknown>> {
    const { url, authorization } = this.#address;
    const isForm = body instanceof FormData;
    const response = await fetch(new URL(path, url), {
      method,
      headers: {
        ...(authorization !== undefined && { authorization }),
        ...(idempotencyKey !== undefined && { "idempotency-key": idempotencyKey }),
        ...(body && !isForm && { "content-type": "application/json" }),
      },
      ...(body && { body: isForm ? body : JSON.stringify(body) }),
      signal: this.#signal,
      redirect: "error",
    });
    const answer = parseJson(await response.text());
    if (response.ok && isObject(answer)) return answer;
    const error = isObject(answer) && isObject(answer.error) ? answer.error : {};
    const { message = `the API answered with status ${response.status}`, code, hint } = error;
    throw new RestError([code && `${code}:`, message, hint && `(${hint})`].filter(Boolean).join(" "));
  }
}
