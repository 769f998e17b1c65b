import type { ServerResponse } from "node:http";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { Agent } from "undici";
import { expect, it, onTestFinished } from "vitest";
import { dispatch } from "../../src/providers/dispatch.ts";
import { waitFor } from "../support/wait-for.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const MIB = 1024 * 1024;
const TEXT = "An answer, with ümlauts. ".repeat(40);

async function site(answer: (response: ServerResponse) => unknown, options: Agent.Options = {}) {
  const server = await wireServer(answer);
  const agent = new Agent({ maxResponseSize: 4 * MIB, ...options });
  onTestFinished(() => agent.destroy());
  const ask = (signal = new AbortController().signal) =>
    dispatch(agent, { url: server.url, method: "POST", headers: {}, body: "{}", signal, maxBytes: 4 * MIB });
  return { server, ask };
}

it.each<[string, (text: Buffer) => Buffer]>([
  ["gzip", gzipSync],
  ["x-gzip", gzipSync],
  ["deflate", deflateSync],
  ["br", brotliCompressSync],
  ["zstd", zstdCompressSync],
  ["gzip, br", (text) => brotliCompressSync(gzipSync(text))],
  ["of-its-own", (text) => text],
  ["constructor", (text) => text],
])("unpacks %s", async (coding, pack) => {
  const { ask } = await site((response) =>
    response.writeHead(200, { "content-encoding": coding }).end(pack(Buffer.from(TEXT))),
  );
  expect(await (await ask()).text()).toBe(TEXT);
});

it.each(["gzip", "deflate", "br", "zstd"])(
  "takes an empty answer that claims to be packed with %s for an empty one",
  async (coding) => {
    const { ask } = await site((response) => response.writeHead(200, { "content-encoding": coding }).end());
    expect(await (await ask()).text()).toBe("");
  },
);

it("refuses what is packed more often than a server has a reason for, and gives up its connection", async () => {
  const { server, ask } = await site(
    (response) =>
      server.requests.length === 1
        ? response.writeHead(200, { "content-encoding": "gzip,".repeat(6) }).write(gzipSync(TEXT))
        : sendJson(response, {}),
    { connections: 1 },
  );
  await expect((await ask()).text()).rejects.toThrow("packed");
  expect(await (await ask()).text()).toBe("{}");
});

it("lets the server wait while nobody reads, and gives every byte", async () => {
  let written = 0;
  const { ask } = await site(async (response) => {
    response.writeHead(200);
    for (let n = 0; n < 48; n++) {
      const chunk = Buffer.alloc(64 * 1024, n);
      if (!response.write(chunk)) await new Promise((resolve) => response.once("drain", resolve));
      written += chunk.length;
    }
    response.end();
  });
  const { body } = await ask();
  await waitFor("the first bytes", () => written > 0);
  let read = 0;
  let wrong = 0;
  for await (const bytes of body as unknown as AsyncIterable<Uint8Array>) {
    for (let i = 0; i < bytes.length; i += 4096) if (bytes[i] !== Math.floor((read + i) / 65536)) wrong += 1;
    read += bytes.length;
  }
  expect([read, wrong]).toEqual([3 * MIB, 0]);
});

it("reads no more than the bound, packed or not", async () => {
  const zeros = Buffer.alloc(5 * MIB);
  for (const headers of [{}, { "content-encoding": "gzip" }]) {
    const body = "content-encoding" in headers ? gzipSync(zeros) : zeros;
    const { ask } = await site((response) => response.writeHead(200, headers).end(body));
    const fault = await (await ask()).text().catch((error) => error);
    expect(fault.cause).toMatchObject({ code: "UND_ERR_RES_EXCEEDED_MAX_SIZE" });
  }
});

it("ends with its signal: before, while it waits for a connection, and in the body", async () => {
  const { server, ask } = await site((response) => response.writeHead(200).write("x"), { connections: 1 });
  await expect(ask(AbortSignal.abort("at once"))).rejects.toBe("at once");
  expect(server.requests).toEqual([]);
  const first = new AbortController();
  const { body } = await ask(first.signal);
  const second = new AbortController();
  const waits = ask(second.signal);
  second.abort("no longer");
  await expect(waits).rejects.toBe("no longer");
  const reader = (body as unknown as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  expect((await reader.next()).value?.toString()).toBe("x");
  const rest = reader.next();
  first.abort(new Error("enough"));
  await expect(rest).rejects.toThrow("enough");
  expect(server.requests).toHaveLength(1);
});

it("keeps its connection when an answer was read, and gives it up with one that was not", async () => {
  let isWhole = true;
  const { server, ask } = await site(
    (response) => (isWhole ? sendJson(response, {}) : response.writeHead(200).write("half")),
    { connections: 1 },
  );
  await (await ask()).text();
  isWhole = false;
  for await (const _ of (await ask()).body as unknown as AsyncIterable<Uint8Array>) break;
  expect(server.sockets).toBe(1);
  isWhole = true;
  await (await ask()).text();
  expect(server.sockets).toBe(2);
});
