import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dashboardToken } from "../../dashboards/link.ts";
import { completionPayload, openDashboard, openQueue, send } from "../support/dashboard.ts";
import { testNamespace } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

const PASSWORD = "correct horse";
const credentials = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` });

async function csrfToken(url: string, headers: Record<string, string>): Promise<string> {
  return JSON.parse((await send(new URL("/session", url).href, "GET", headers)).text).csrfToken;
}

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
    expect((await send(new URL("/healthz", url).href)).status, "for those who watch it").toBe(200);
    for (const path of ["/", "/queues", "/queues/api/queues", "/queues/static/favicon.ico"]) {
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

  test("wrong passwords have to wait, at the page and everywhere else", async () => {
    const { url } = await openDashboard({ password: PASSWORD });
    for (let n = 0; n < 20; n++) expect((await send(url)).status, "no try").toBe(401);
    const tries = Array.from({ length: 15 }, (_, n) => send(url, "GET", credentials(`:wrong ${n}`)));
    const statuses = (await Promise.all(tries)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(10);
    expect(statuses.filter((status) => status === 429)).toHaveLength(5);
    expect((await send(`${url}/api/queues`, "GET", credentials(`:${PASSWORD}`))).status).toBe(429);
    expect((await send(new URL("/healthz", url).href)).status).toBe(200);
  });

  test("a wildcard address with a password is reached by any name, and still by one site only", async () => {
    const { url } = await openDashboard({ host: "0.0.0.0", password: PASSWORD });
    const headers = { ...credentials(`:${PASSWORD}`), host: "jobs.example.org" };
    expect((await send(url, "GET", headers)).status).toBe(200);
    const origin = { ...headers, origin: "https://jobs.example.org" };
    expect((await send(`${url}/api/queues/pause`, "PUT", origin)).status, "a browser").toBe(403);
    const own = { ...origin, "x-csrf-token": await csrfToken(url, headers) };
    expect((await send(`${url}/api/queues/pause`, "PUT", own)).status).toBe(200);
    const foreign = { ...own, origin: "https://example.org" };
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

  test("without a password it is opened by the link with the data folder's token", async () => {
    const dataDir = join(temporaryFolder(), "data");
    const token = dashboardToken(dataDir);
    expect(dashboardToken(dataDir), "the next start has the same").toBe(token);
    expect(statSync(join(dataDir, "dashboard-token")).mode & 0o777).toBe(0o600);
    const { url } = await openDashboard({ token });
    expect(url).toMatch(/\/queues\?token=[0-9a-f]{64}$/);
    const page = url.split("?")[0] ?? "";
    const cookieName = `gluellm-${new URL(url).port}`;
    const wrong = [
      await send(page),
      await send(`${page}?token=${"0".repeat(64)}`),
      await send(`${page}?token=`),
      await send(`${page}/api/queues/pause`, "PUT"),
      await send(page, "GET", { authorization: "Bearer wrong" }),
      await send(page, "GET", { cookie: `${cookieName}=wrong; other=${token}` }),
    ];
    expect(wrong.map(({ status }) => status)).toEqual(Array(6).fill(401));
    expect(wrong[0]?.text).toContain("Open the link");
    expect((await send(new URL("/healthz", url).href)).status).toBe(200);

    const opened = await send(url);
    expect([opened.status, opened.headers.location]).toEqual([303, "/queues"]);
    const [cookie = ""] = opened.headers["set-cookie"] ?? [];
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict$/);
    const kept = { cookie: `theme=dark; ${cookie.split(";")[0]}` };
    expect((await send(page, "GET", kept)).status).toBe(200);
    const { origin } = new URL(url);
    expect((await send(`${page}/api/queues/pause`, "PUT", { ...kept, origin })).status).toBe(403);
    const own = { ...kept, origin, "x-csrf-token": await csrfToken(url, kept) };
    expect((await send(`${page}/api/queues/pause`, "PUT", own)).status).toBe(200);
    const foreign = { ...own, origin: "https://example.org" };
    expect((await send(`${page}/api/queues/pause`, "PUT", foreign)).status).toBe(403);
    expect((await send(page, "GET", { authorization: `Bearer ${token}` })).status).toBe(200);
  });

  test("a busy port moves, and a fixed one is an error", async () => {
    const first = await openDashboard();
    const port = Number(new URL(first.url).port);
    const second = await openDashboard({ port });
    expect(Number(new URL(second.url).port)).toBeGreaterThan(port);
    await expect(openDashboard({ port, isPortFixed: true })).rejects.toMatchObject({
      code: "dashboard_address",
      message: expect.stringContaining(`port ${port}: EADDRINUSE`),
    });
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
