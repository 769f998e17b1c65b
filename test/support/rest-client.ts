/** What the REST API answered. */
interface RestAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what came.
  body: any;
  headers: Headers;
}

/** Returns what asks a served API for something with a key. */
export function restClient(url: string, headers: Record<string, string>) {
  return async (method: string, path: string, body?: unknown, more: Record<string, string> = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { ...headers, ...more, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") ?? false;
    return {
      status: response.status,
      body: isJson ? JSON.parse(text) : text,
      headers: response.headers,
    } satisfies RestAnswer;
  };
}
