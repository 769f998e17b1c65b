import { describe, expect, test } from "vitest";
import { completionPayload, openDashboard, openQueue, send } from "../support/dashboard.ts";
import { testNamespace } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const PASSWORD = "correct horse";
const credentials = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` });

describe("beyond this machine", () => {
  test.each(["0.0.0.0", "::", "192.0.2.1", "example.org"])(
    "%s is refused without a password",
    async (host) => {
      await expect(openDashboard({ host })).rejects.toMatchObject({
        category: "configuration",
        message: expect.stringContaining(host),
        hint: expect.stringContaining("GLUELLM_DASHBOARD_PASSWORD"),
      });
    },
  );

  test("every path asks for the password, under any name", async () => {
    const { url } = await openDashboard({ host: "0.0.0.0", password: PASSWORD });
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/queues$/);
    for (const path of ["/", "/healthz", "/queues", "/queues/api/queues", "/queues/static/favicon.ico"]) {
      const { status, headers } = await send(new URL(path, url).href);
      expect([path, status, headers["www-authenticate"]]).toEqual([
        path,
        401,
        expect.stringMatching(/^Basic /),
      ]);
    }
    const pause = `${url}/api/queues/pause`;
    expect((await send(pause, "PUT")).status).toBe(401);
    for (const wrong of ["admin:wrong", `${PASSWORD}:`, "admin:", `admin:${PASSWORD} `]) {
      expect((await send(url, "GET", credentials(wrong))).status, wrong).toBe(401);
    }
    expect((await send(url, "GET", { authorization: `Bearer ${PASSWORD}` })).status).toBe(401);
    expect((await send(url, "GET", credentials(`admin:${PASSWORD}`))).status).toBe(200);
    expect((await send(pause, "PUT", credentials(`:${PASSWORD}`))).status).toBe(200);
  });

  test("a wildcard address with a password is reached by any name, and still by one site only", async () => {
    const { url } = await openDashboard({ host: "0.0.0.0", password: PASSWORD });
    const headers = { ...credentials(`:${PASSWORD}`), host: "jobs.example.org" };
    expect((await send(url, "GET", headers)).status).toBe(200);
    const own = { ...headers, origin: "https://jobs.example.org" };
    expect((await send(`${url}/api/queues/pause`, "PUT", own)).status).toBe(200);
    const foreign = { ...headers, origin: "https://example.org" };
    expect((await send(`${url}/api/queues/pause`, "PUT", foreign)).status).toBe(403);
  });
});

describe("on loopback", () => {
  test.each([
    ["127.0.0.1", 200],
    ["127.8.9.1:1234", 200],
    ["localhost:99", 200],
    ["[::1]:3000", 200],
    ["LOCALHOST", 200],
    ["rebound.example.org", 403],
    ["127.0.0.1.example.org", 403],
    ["localhost.example.org:3000", 403],
    ["192.0.2.1", 403],
    ["0.0.0.0", 403],
    ["not a host", 403],
  ])("Host %s is answered with %i", async (host, status) => {
    const { url } = await openDashboard();
    expect((await send(url, "GET", { host })).status).toBe(status);
  });

  test.each(["localhost", "127.0.0.2"])("it listens on %s without a password", async (host) => {
    const { url } = await openDashboard({ host });
    expect((await send(url)).status).toBe(200);
  });

  test("other sites' pages change nothing", async () => {
    const namespace = testNamespace();
    const { queue } = await openQueue(namespace, "completions.openai.gpt-4o-mini");
    const { url } = await openDashboard({ namespace });
    await queue.add("completion", completionPayload(), { jobId: "later", delay: 600_000 });
    const promote = `${url}/api/queues/openai%3Agpt-4o-mini/later/promote`;
    const job = promote.replace("/promote", "");
    await waitFor("job on the board", async () => (await send(job)).status === 200);

    const { origin, port } = new URL(url);
    const foreign: Record<string, string>[] = [
      { origin: "https://example.org" },
      { origin: "null" },
      { origin: `http://localhost:${port}` },
      { origin: "http://127.0.0.1:1" },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { origin, "sec-fetch-site": "cross-site" },
    ];
    for (const headers of foreign) {
      const { status } = await send(promote, "PUT", headers);
      expect([headers, status]).toEqual([headers, 403]);
    }
    expect((await send(url, "GET", { origin: "https://example.org" })).status).toBe(403);
    expect(await (await queue.getJob("later"))?.getState()).toBe("delayed");

    expect((await send(url, "GET", { "sec-fetch-site": "cross-site" })).status).toBe(200);
    expect((await send(promote, "PUT", { origin, "sec-fetch-site": "same-origin" })).status).toBe(204);
    expect(await (await queue.getJob("later"))?.getState()).toBe("waiting");
  });
});
