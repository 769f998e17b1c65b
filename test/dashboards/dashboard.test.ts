import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { completionPayload, openDashboard, openQueue, send } from "../support/dashboard.ts";
import { testNamespace } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

interface BoardQueue {
  name: string;
  counts: Record<string, number>;
}

async function boardQueues(url: string): Promise<BoardQueue[]> {
  const { text } = await send(`${url}/api/queues`);
  return (JSON.parse(text) as { queues: BoardQueue[] }).queues;
}

function jobUrl(url: string, boardName: string, jobId: string): string {
  return `${url}/api/queues/${encodeURIComponent(boardName)}/${jobId}`;
}

async function boardJob(url: string, boardName: string, jobId: string) {
  const { status, text } = await send(jobUrl(url, boardName, jobId));
  expect(status, text).toBe(200);
  return JSON.parse(text) as {
    status: string;
    job: Record<string, unknown> & { data: Record<string, unknown> };
  };
}

const NAME = "openrouter:meta-llama/llama-3:free";
const QUEUE = "completions.openrouter.meta-llama%2Fllama-3%3Afree";

/** A board that shows the queue whose name needs encoding. */
async function openBoard() {
  const namespace = testNamespace();
  const opened = await openQueue(namespace, QUEUE);
  const { url } = await openDashboard({ namespace });
  await waitFor("queue on the board", async () => (await boardQueues(url)).length === 1);
  return { url, ...opened };
}

describe("queues", () => {
  test("appear with their registration and leave with it", async () => {
    const namespace = testNamespace();
    const { url } = await openDashboard({ namespace });
    expect(await boardQueues(url)).toEqual([]);

    const { redis, keys } = await openQueue(namespace, QUEUE);
    const names = async () => (await boardQueues(url)).map(({ name }) => name);
    await waitFor("queue on the board", async () => (await names()).includes(NAME));

    await redis.hdel(keys.queues, QUEUE);
    await waitFor("queue off the board", async () => (await names()).length === 0);
  });

  test("keep the meta data their producers wrote", async () => {
    const namespace = testNamespace();
    const { redis, keys } = await openQueue(namespace, QUEUE);
    const meta = `${keys.prefix}:${QUEUE}:meta`;
    await redis.hset(meta, "opts.maxLenEvents", "1000");
    const { url } = await openDashboard({ namespace });
    await waitFor("queue on the board", async () => (await boardQueues(url)).length === 1);
    expect(await redis.hget(meta, "opts.maxLenEvents")).toBe("1000");
  });
});

describe("jobs", () => {
  test("show what was asked, shortened, and a summary of the answer", async () => {
    const { url, queue, work } = await openBoard();
    const batch = { id: "batch_1", line: 17 };
    await queue.add("completion", completionPayload({ batch }), { jobId: "good" });
    await work();

    const { job, status } = await boardJob(url, NAME, "good");
    expect(status).toBe("completed");
    expect(job.name).toBe("line 17: How many eggs? Count them. Count them. Count them. Count the…");
    expect(job.data).toMatchObject({
      kind: "completion",
      model: "openai:gpt-4o-mini",
      batch: "batch_1",
      line: 17,
      deadline: "2020-01-01T00:00:00.000Z",
    });
    const [message] = (job.data.request as { messages: { content: string }[] }).messages;
    expect(message?.content).toMatch(/^How many eggs\? .{1985}… \(4,015 more characters\)$/);
    expect(job.returnValue).toMatchObject({ status: "succeeded", tokens: { total: 23 } });
    expect((job.returnValue as { text: string }).text).toMatch(/more characters\)$/);
  });

  test("name a request that is kept elsewhere, and show data of any other shape", async () => {
    const { url, queue } = await openBoard();
    const request = { blob: "ab".repeat(32), bytes: 300_000 };
    await queue.add("completion", completionPayload({ request }), { jobId: "large" });
    await queue.add(
      "odd",
      { deadlineAt: "soon", nested: [null, { text: "x".repeat(3000) }] },
      { jobId: "odd" },
    );
    await queue.add("odd", completionPayload({ deadlineAt: 1e300 }), { jobId: "endless" });

    const large = await boardJob(url, NAME, "large");
    expect(large.job.data.request).toBe("kept outside the job: 293 KiB, blob abababababab…");
    const odd = await boardJob(url, NAME, "odd");
    expect(odd.job.name).toBe("odd");
    expect(odd.job.data).toMatchObject({ nested: [null, { text: expect.stringMatching(/… \(1,000 more/) }] });
    expect((await boardJob(url, NAME, "endless")).job.data.deadline).toBe(1e300);
  });

  test("that failed are retried with a new deadline, all attempts and a clean record of lost workers", async () => {
    const { url, queue, redis, keys, work } = await openBoard();
    await queue.add("completion", completionPayload(), { jobId: "bad", attempts: 3 });
    await work();
    await redis.hset(jobKey({ keys }, QUEUE, "bad"), "stc", 12);
    const failed = await boardJob(url, NAME, "bad");
    expect(failed.status).toBe("failed");
    expect(failed.job.failedReason).toContain("invalid_request");

    expect((await send(`${jobUrl(url, NAME, "bad")}/retry`, "PUT")).status).toBe(204);
    const job = await queue.getJob("bad");
    expect(await job?.getState()).toBe("waiting");
    expect(job).toMatchObject({ attemptsMade: 0, attemptsStarted: 0, stalledCounter: 0 });
    expect(job?.data.deadlineAt).toBeGreaterThan(Date.now());
    expect(job?.data.request).toEqual(completionPayload().request);
  });

  test("that failed are retried together", async () => {
    const { url, queue, work } = await openBoard();
    await queue.add("completion", completionPayload(), { jobId: "bad" });
    await work();
    const answer = await send(`${url}/api/queues/${encodeURIComponent(NAME)}/retry/failed`, "PUT");
    expect(JSON.parse(answer.text)).toEqual({ retried: 1, skipped: 0 });
    expect((await queue.getJob("bad"))?.data.deadlineAt).toBeGreaterThan(Date.now());
  });

  test("that are delayed are promoted", async () => {
    const { url, queue } = await openBoard();
    await queue.add("completion", completionPayload(), { jobId: "later", delay: 600_000 });
    expect((await send(`${jobUrl(url, NAME, "later")}/promote`, "PUT")).status).toBe(204);
    expect(await (await queue.getJob("later"))?.getState()).toBe("waiting");
  });

  test("are not written from the shortened data the board shows", async () => {
    const { url, queue } = await openBoard();
    await queue.add("completion", completionPayload(), { jobId: "waits" });
    await queue.add("completion", completionPayload({ tools: ["search"] }), { jobId: "calls" });
    await queue.add("completion", { ...completionPayload(), tenant: "acme" }, { jobId: "acme" });
    expect((await boardJob(url, NAME, "calls")).job.data).toMatchObject({ tools: ["search"] });
    expect((await boardJob(url, NAME, "acme")).job.data).toMatchObject({ tenant: "acme" });
    const { status, text } = await send(`${jobUrl(url, NAME, "waits")}/update-data`, "PATCH");
    expect([status, text]).toEqual([405, expect.stringContaining("shortened")]);
    expect((await send(`${url}/api/queues/${encodeURIComponent(NAME)}/add`, "POST")).status).toBe(405);
    expect((await queue.getJob("waits"))?.data).toEqual(completionPayload());
  });
});

test.each([
  ["PUT", "/concurrency"],
  ["PUT", "/rate-limit"],
  ["PUT", "/empty"],
  ["PUT", "/obliterate"],
  ["PUT", "/clean/waiting"],
  ["PUT", "/waits/clean"],
  ["PATCH", "/waits/delay"],
  ["PATCH", "/waits/priority"],
  ["POST", "/add"],
])("a control that could lose work is refused, with what to do instead: %s %s", async (method, path) => {
  const { url, queue } = await openBoard();
  await queue.add("completion", completionPayload(), { jobId: "waits" });
  await queue.pause();
  const { status, text } = await send(`${url}/api/queues/${encodeURIComponent(NAME)}${path}`, method);
  expect([403, 405]).toContain(status);
  expect(text).toMatch(/The board does not do this\. [A-Z]/);
  expect(await queue.getJobState("waits")).toBe("waiting");
  expect(await queue.getGlobalConcurrency()).toBe(null);
});

test("a queue with a job that cannot be read shows the others, and why they wait", async () => {
  const { url, queue, redis, keys } = await openBoard();
  for (const jobId of ["broken", "waits"]) await queue.add("completion", completionPayload(), { jobId });
  await redis
    .multi()
    .del(jobKey({ keys }, QUEUE, "broken"))
    .set(jobKey({ keys }, QUEUE, "broken"), "x")
    .exec();
  await queue.pause();
  const { text } = await send(
    `${url}/api/queues?activeQueue=${encodeURIComponent(NAME)}&status=waiting&page=1&jobsPerPage=10`,
  );
  const { queues } = JSON.parse(text) as { queues: { jobs: { id: string; data: object }[] }[] };
  expect(queues[0]?.jobs).toMatchObject([
    { id: "waits", data: { waitsFor: "the queue: an operator paused it" } },
  ]);
});

describe("the server", () => {
  test("moves from a busy port to the next free one", async () => {
    const first = await openDashboard();
    const port = Number(new URL(first.url).port);
    const second = await openDashboard({ port });
    const moved = Number(new URL(second.url).port);
    expect(moved).toBeGreaterThan(port);
    expect(moved).toBeLessThanOrEqual(port + 20);
    expect((await send(second.url)).status).toBe(200);
  });

  test("says which setting to change when it cannot listen", async () => {
    const attempt = openDashboard({ host: "203.0.113.1", password: "long enough" });
    await expect(attempt).rejects.toMatchObject({
      category: "configuration",
      message: expect.stringContaining("203.0.113.1, port 0: EADDRNOTAVAIL"),
      hint: expect.stringContaining("GLUELLM_DASHBOARD_HOST"),
    });
  });

  test("leads / to the board and answers other paths in plain text", async () => {
    const { url } = await openDashboard();
    const root = await send(new URL("/", url).href);
    expect([root.status, root.headers.location]).toEqual([302, "/queues"]);
    const missing = await send(new URL("/nothing", url).href);
    expect([missing.status, missing.text]).toEqual([404, "Not found\n"]);
    const malformed = await send(new URL("/queues/queue/%E0%A4", url).href);
    expect([malformed.status, malformed.text]).toEqual([400, "Bad request\n"]);
  });

  test("serves a page that needs no other site", async () => {
    const { url } = await openDashboard();
    const page = await send(url);
    expect(page.text).toContain("GlueLLM");
    expect(page.text).not.toMatch(/(href|src)="https?:/);
    expect(page.headers["content-security-policy"]).toContain("default-src 'self'");
  });

  test("answers /healthz as long as Redis answers", async () => {
    const { url } = await openDashboard();
    const health = await send(new URL("/healthz", url).href);
    expect([health.status, health.text]).toEqual([200, '{"status":"ok"}']);
  });

  test("closes connections that browsers keep open", async () => {
    const dashboard = await openDashboard();
    const socket = connect(Number(new URL(dashboard.url).port), "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n");
    await once(socket, "data");
    const ended = once(socket, "close");
    await dashboard.close();
    await ended;
  });
});

describe("without Redis", () => {
  const silent = createServer(() => {});
  let port = 0;
  beforeAll(async () => {
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    port = (silent.address() as AddressInfo).port;
  });
  afterAll(() => void silent.close());

  test.each([
    ["is not there", () => ({ socketPath: "/nonexistent/redis.sock" })],
    ["hangs", () => ({ url: `redis://127.0.0.1:${port}` })],
  ])("that %s, it starts, says so, and closes", async (_, redisTarget) => {
    const dashboard = await openDashboard({ redisTarget: redisTarget() });
    const health = await send(new URL("/healthz", dashboard.url).href);
    expect([health.status, health.text]).toEqual([503, '{"status":"redis does not answer"}']);
    await dashboard.close();
  });
});
