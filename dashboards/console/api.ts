import { session } from "./session.ts";

/** What the API says of a request that it refuses. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(status: number, { code, message, hint }: { code?: string; message?: string; hint?: string }) {
    super(message ?? `the server answered ${status}`);
    this.status = status;
    this.code = code ?? "";
    this.hint = hint;
  }
}

const TIMEOUT_MS = 30_000;
const SAFE = new Set(["GET", "HEAD"]);

/** Asks the API. All that the console shows and does goes through here. @throws ApiError */
async function ask<T>(
  method: string,
  path: string,
  body?: unknown,
  { signal, headers }: { signal?: AbortSignal | undefined; headers?: Record<string, string> } = {},
): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: {
      accept: "application/json",
      ...(body !== undefined && { "content-type": "application/json" }),
      ...(!SAFE.has(method) && csrfHeader()),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  });
  const text = await response.text();
  const answer = readJson(text) as { error?: object } | undefined;
  if (response.ok) return answer as T;
  throw new ApiError(response.status, answer?.error ?? { message: text.slice(0, 300) });
}

export function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return ask("GET", path, undefined, { signal });
}

export function post<T>(path: string, body: unknown = {}, headers?: Record<string, string>): Promise<T> {
  return ask("POST", path, body, headers && { headers });
}

export function put<T>(path: string, body: unknown): Promise<T> {
  return ask("PUT", path, body);
}

export function patch<T>(path: string, body: unknown): Promise<T> {
  return ask("PATCH", path, body);
}

export function remove<T>(path: string): Promise<T> {
  return ask("DELETE", path);
}

/** Returns a path with those of the values that are given. */
export function withQuery(path: string, values: Record<string, string | number | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values))
    if (value !== undefined && value !== "") query.set(name, String(value));
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** The session's second secret, which pages of other sites cannot read. */
function csrfHeader(): Record<string, string> {
  const token = session.value?.csrfToken;
  return token ? { "x-csrf-token": token } : {};
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
