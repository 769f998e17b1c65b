import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seededRandom, sizeOf } from "../support/sample.ts";
import { type ServedApi, serveApi } from "../support/served-api.ts";
import { CLAUDE_MODEL, MODEL, NATIVE_MODEL } from "../support/site.ts";

/* Requests of a seed, most of them wrong in some way: each has an answer under 500, or 503, and the process lives on. */

let api: ServedApi;
let headers: Record<string, string>;
beforeAll(async () => {
  api = await serveApi({ latencyMs: 0 });
  headers = { authorization: `Bearer ${api.apiKey}` };
});
afterAll(() => api.site[Symbol.asyncDispose]());

const PATHS = [
  ...[
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/models",
    "/v1/models/a%2Fb%00",
    "/v1/files",
    "/v1/batches",
  ],
  ...[
    "/v1/messages",
    "/v1/responses/resp_x",
    "/v1/responses/%2e%2e%2fx/cancel",
    "/v1/responses/x/input_items?limit=-1&order=up",
  ],
  ...[
    "/v1/%zz",
    "/v1//chat//completions",
    "/v1/../../../etc/passwd",
    "/%c0%ae%c0%ae/",
    "/v1/models?".padEnd(3000, "a=b&"),
    "/health/ready",
  ],
  ...["/api/jobs", "/api/jobs/job-x", "/api/workflows", "/api/queues", "/openapi.json", "/docs"],
];
const METHODS = ["POST", "POST", "POST", "GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"];
const deep = (n: number) => "[".repeat(n) + "]".repeat(n);

/** Makes requests by the lot. */
function requestsOf(random: () => number) {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const scalar = (): unknown =>
    pick([
      null,
      true,
      0,
      -1,
      1e308,
      9007199254740993n,
      "",
      "x",
      "\u0000",
      "__proto__",
      "\ud800",
      [],
      {},
      "💥".repeat(50),
      -0.5,
      "1e999",
    ]);
  const value = (depth = 0): unknown => {
    if (depth > 3 || random() < 0.5) return scalar();
    if (random() < 0.5) return Array.from({ length: Math.floor(random() * 4) }, () => value(depth + 1));
    return Object.fromEntries([1, 2].map(() => [pick(NAMES), value(depth + 1)]));
  };
  const good: Record<string, () => unknown> = {
    model: () => pick([MODEL, CLAUDE_MODEL, NATIVE_MODEL, "simulator:", "nobody:x", "a".repeat(300)]),
    messages: () => [
      {
        role: pick(["user", "system", "tool", "king"]),
        content: pick(["hi", [{ type: "text", text: "hi" }], null]),
      },
    ],
    input: () =>
      pick(["hi", ["hi"], [{ role: "user", content: "hi" }], [{ type: "item_reference", id: "msg_x" }]]),
    tools: () => [{ type: "function", function: { name: pick(["a", "a b", ""]), parameters: value() } }],
    response_format: () => ({ type: "json_schema", json_schema: { name: "x", schema: value() } }),
    text: () => ({ format: { type: "json_schema", name: "x", schema: value() } }),
    stream: () => random() < 0.3,
    previous_response_id: () => pick(["resp_x", "resp_00000000-0000-0000-0000-000000000000"]),
  };
  const NAMES = [
    ...Object.keys(good),
    ...[
      "temperature",
      "max_tokens",
      "n",
      "stop",
      "seed",
      "logprobs",
      "tool_choice",
      "metadata",
      "user",
      "store",
      "background",
    ],
    ...[
      "__proto__",
      "constructor",
      "toJSON",
      "embedding",
      "responses",
      "stream_options",
      "dimensions",
      "encoding_format",
      "0",
    ],
  ];
  const body = (): string => {
    const lot = random();
    if (lot < 0.05) return deep(pick([10, 199, 201, 5000]));
    if (lot < 0.1)
      return pick([
        "",
        "{",
        "null",
        "5",
        '"x"',
        "[1,",
        "\u0000",
        "{}{}",
        '{"a":1e99999}',
        "NaN",
        '{"__proto__":{"x":1}}',
      ]);
    const fields = ["model", "messages", "input", ...Array.from({ length: 4 }, () => pick(NAMES))];
    const pairs = fields.map((name): [string, unknown] => {
      const make = Object.hasOwn(good, name) ? good[name] : undefined;
      return [name, make && random() < 0.8 ? make() : value()];
    });
    const text = JSON.stringify(Object.fromEntries(pairs), (_, part) =>
      typeof part === "bigint" ? Number(part) : part,
    );
    return random() < 0.03 ? text.slice(0, text.length / 2) : text;
  };
  const extra = (): Record<string, string> => {
    const odd: Record<string, string>[] = [
      {},
      { "content-type": "text/plain" },
      { "content-type": "application/json; charset=utf-7" },
      { "content-encoding": "gzip" },
      { "content-encoding": "x" },
      { "content-type": "multipart/form-data; boundary=x" },
      { "idempotency-key": "k".repeat(300) },
      { "idempotency-key": "same" },
      { "x-stainless-retry-count": "99999999999999999999" },
      { traceparent: "00-0-0-0" },
      { authorization: "Bearer gk_x" },
      Object.fromEntries(Array.from({ length: 150 }, (_, n) => [`x-${n}`, "y"])),
    ];
    return random() < 0.4 ? pick(odd) : {};
  };
  return () => ({ path: pick(PATHS), method: pick(METHODS), body: body(), extra: extra() });
}

test("no request makes the server fail", async () => {
  const next = requestsOf(seededRandom("hostile requests"));
  const failures: unknown[] = [];
  const statuses = new Map<number, number>();
  const total = sizeOf(20_000, 400);
  let left = total;
  const lane = async () => {
    while (left-- > 0) {
      const { path, method, body, extra } = next();
      const hasBody = method !== "GET" && method !== "HEAD";
      const response = await fetch(new URL(path, api.baseURL), {
        method,
        headers: { "content-type": "application/json", ...headers, ...extra },
        ...(hasBody && { body }),
        signal: AbortSignal.timeout(120_000),
      }).catch((error: Error) => ({ status: 0, text: async () => String(error.cause ?? error) }));
      const text = await response.text().catch((error: Error) => String(error));
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      const isRefusedByWire = response.status === 0 && /other side closed|ECONNRESET|EPIPE/.test(text);
      const isFine =
        (response.status > 0 && response.status < 500) || response.status === 503 || isRefusedByWire;
      if (!isFine)
        failures.push({ path, method, body: body.slice(0, 500), extra, status: response.status, text });
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  expect(failures.slice(0, 3)).toEqual([]);
  expect(api.process.child.exitCode).toBeNull();
  expect((await fetch(`${api.baseURL}/models`, { headers })).status).toBe(200);
  const said = api.process.stderr();
  expect(said).not.toMatch(/this is a bug/);
  expect(said.split(api.apiKey), "the key stands in the line to paste alone").toHaveLength(2);
  expect(
    [...statuses.keys()].filter((status) => status >= 400).length,
    "refusals of several kinds",
  ).toBeGreaterThan(2);
});

test("what is no HTTP, or too much of it, is cut off, and others are served", async () => {
  const { port, hostname } = new URL(api.baseURL);
  const raw = [
    "GARBAGE\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    `GET /v1/models HTTP/1.1\r\nhost: localhost\r\n${"x-a: b\r\n".repeat(5000)}\r\n`,
    `GET /${"a".repeat(100_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
    "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\n\r\n",
    "\u0000\u0001\u0002".repeat(1000),
  ];
  for (const text of raw) {
    const answer = await new Promise<string>((resolve) => {
      let got = "";
      const socket = connect(Number(port), hostname, () => socket.write(text));
      socket.setEncoding("utf8").on("data", (chunk: string) => {
        got += chunk;
        if (got.includes("\r\n\r\n")) socket.destroy();
      });
      socket.on("error", () => {}).on("close", () => resolve(got));
    });
    expect(answer.slice(0, 12)).toMatch(/^(HTTP\/1\.1 4..)?$/);
  }
  expect((await fetch(`${api.baseURL}/models`, { headers })).status).toBe(200);
});
