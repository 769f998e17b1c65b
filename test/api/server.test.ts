import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { probeAnswerer } from "../../src/store/probe.ts";
import { announceWorker, workerCardSchema } from "../../src/store/worker-card.ts";
import { openApi } from "../support/api.ts";
import { send } from "../support/dashboard.ts";
import { waitFor } from "../support/wait-for.ts";

const settings = { host: "127.0.0.1", port: 0, allowedHosts: ["llm.example.org"], drainMs: 1000 };
const bounds = { maxFileBytes: 1000, maxBatchRows: 10 };
const api = { ...settings, ...bounds, corsOrigins: ["https://app.example.org"] };

describe("who is let in", () => {
  test.each([
    ["evil.example", 403],
    ["127.0.0.1.evil.example", 403],
    ["localhost", 200],
    ["[::1]:80", 200],
    ["llm.example.org", 200],
  ])("Host %s: %i", async (host, status) => {
    const { url } = await openApi({ api });
    expect((await send(`${url}/health/live`, "GET", { host })).status).toBe(status);
  });

  test("web pages of listed origins are told so, others are refused", async () => {
    const { url } = await openApi({ api });
    const asked = (origin: string) => send(`${url}/v1/models`, "OPTIONS", { origin });
    const listed = await asked("https://app.example.org");
    expect(listed.status).toBe(204);
    expect(listed.headers["access-control-allow-origin"]).toBe("https://app.example.org");
    for (const origin of ["https://evil.example", "null", "https://app.example.org.evil.example"]) {
      const refused = await asked(origin);
      expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([403, undefined]);
    }
  });

  test("without keys it listens on loopback alone, and takes nothing that a proxy forwards", async () => {
    await expect(openApi({}, { host: "0.0.0.0", isAuthRequired: false })).rejects.toMatchObject({
      code: "api_open",
    });
    const { url } = await openApi({}, { isAuthRequired: false });
    expect((await send(`${url}/v1/models`)).status).toBe(200);
    for (const name of ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"]) {
      const { status, text } = await send(`${url}/v1/models`, "GET", { [name]: "203.0.113.7" });
      expect([name, status, JSON.parse(text).error.code]).toEqual([name, 403, "forwarded_without_keys"]);
    }
  });
});

describe("every answer", () => {
  test("has a request id: the caller's own, or a new one", async () => {
    const { url } = await openApi();
    const named = await send(`${url}/health/live`, "GET", { "x-request-id": "req-of-mine" });
    expect(named.headers["x-request-id"]).toBe("req-of-mine");
    for (const odd of ["", "a b", "x".repeat(200), "<script>"]) {
      const { headers } = await send(`${url}/health/live`, "GET", { "x-request-id": odd });
      expect(headers["x-request-id"], odd).toMatch(/^req_[0-9a-f-]{36}$/);
    }
  });

  test("is one JSON error where nothing is", async () => {
    const { url } = await openApi();
    for (const path of ["/", "/v1", "/v1/nothing", "/v1/../../etc/passwd", "/%2e%2e/%00", "/v1/%zz"]) {
      const { status, text, headers } = await send(`${url}${path}`);
      expect([path, status < 500, headers["content-type"]]).toEqual([
        path,
        true,
        expect.stringMatching(/json/),
      ]);
      expect(JSON.parse(text).error).toEqual({
        message: expect.any(String),
        type: expect.any(String),
        param: null,
        code: expect.any(String),
      });
    }
  });
});

describe("health", () => {
  test("it is alive, and ready as long as Redis answers", async () => {
    const { url, store } = await openApi();
    expect((await send(`${url}/health/live`)).status).toBe(200);
    expect(JSON.parse((await send(`${url}/health/ready`)).text)).toMatchObject({ status: "ok", workers: 0 });
    store.disconnect();
    const { status, text } = await send(`${url}/health/ready`);
    expect([status, JSON.parse(text).redis]).toEqual([503, "does not answer"]);
    expect((await send(`${url}/health/live`)).status).toBe(200);
  });

  test("it is not ready while workers take no jobs: one probe is sent, and waits until a worker takes it", async () => {
    const { url, store } = await openApi();
    const ready = async () => {
      const { status, text } = await send(`${url}/health/ready`);
      return { ...JSON.parse(text), status };
    };
    expect(await ready()).toMatchObject({ status: 200, workers: 0, probeAgeMs: 0 });
    await store.redis.hset(jobKey(store, "probe", "probe"), "timestamp", Date.now() - 61_000);
    expect(await ready(), "jobs wait for workers").toMatchObject({ status: 200, workers: 0 });
    const card = { host: "here", pid: 1, queueGlobs: ["*"], entries: {} };
    const memory = { rssBytes: 0, memoryShare: 0, lagMs: 0, clockAheadMs: 0 };
    const process = { version: "0.2.0", startedAt: 0, ...memory, queues: [] };
    await announceWorker(store, "old", workerCardSchema.parse(card));
    expect((await ready()).status, "of a version without probes").toBe(200);
    await announceWorker(store, "new", workerCardSchema.parse({ ...card, process }));
    const stuck = await ready();
    expect(stuck).toMatchObject({ status: 503, workers: 2, redis: "ok" });
    expect(stuck.probeAgeMs).toBeGreaterThan(60_000);
    expect(await store.redis.llen(`${store.keys.prefix}:probe:wait`), "one at a time").toBe(1);

    const logger = createLogger({ level: "silent", json: true });
    const worker = probeAnswerer({ store, logger, lockMs: 10_000 });
    onTestFinished(() => worker.close());
    await waitFor("the worker", async () => (await ready()).status === 200);
    expect(await store.redis.exists(jobKey(store, "probe", "probe")), "nothing is left of it").toBe(0);
  });
});

test("a client that never ends its headers is cut off, and the server closes all the same", async () => {
  const { url, close } = await openApi({ api });
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await close();
  await closed;
});
