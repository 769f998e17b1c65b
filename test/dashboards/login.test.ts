import { describe, expect, test } from "vitest";
import { mountRest } from "../../src/api/rest-mount.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { ROLES, type Scope } from "../../src/shared/scopes.ts";
import { loadSettings, withSettings } from "../../src/shared/settings.ts";
import { revokeApiKey } from "../../src/store/api-key.ts";
import { makeKey } from "../support/api.ts";
import { type Answer, completionPayload, openDashboard, openQueue, send } from "../support/dashboard.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

const TOKEN = "ab".repeat(32);
const FORM = { "content-type": "application/x-www-form-urlencoded" };
const JSON_BODY = { "content-type": "application/json" };
const PAGE = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };

/** A dashboard with the REST routes, and what logs in to it. */
async function openSite(options: Parameters<typeof openDashboard>[0] = {}) {
  const namespace = testNamespace();
  const store = testStore(namespace);
  const settings = withSettings(loadSettings({ env: {}, cwd: temporaryFolder() }), { namespace });
  const logger = createLogger({ level: "silent", json: true });
  const { url } = await openDashboard({
    namespace,
    ...(options.password === undefined && { token: TOKEN }),
    mountRest: (knownCaller) => mountRest({ settings, logger, store }, knownCaller),
    ...options,
  });
  const { origin } = new URL(url);
  const logIn = (key: string, headers: Record<string, string> = {}) =>
    send(`${origin}/login`, "POST", { ...FORM, origin, ...headers }, new URLSearchParams({ key }).toString());
  return { namespace, store, origin, logIn };
}

function cookieOf({ headers }: Answer): string {
  return headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
}

/** What a browser that is logged in sends with each request, and with those that change something. */
async function browserOf(origin: string, answer: Answer) {
  const seen = { cookie: cookieOf(answer) };
  const session = JSON.parse((await send(`${origin}/session`, "GET", seen)).text);
  const changing = { ...seen, origin, "x-csrf-token": session.csrfToken as string };
  return { seen, changing, session };
}

const codeOf = ({ status, text }: Answer) => [status, JSON.parse(text).error?.code];

describe("a login", () => {
  test("by a key opens the page it was asked for, holds with its scopes, and ends with a logout", async () => {
    const { origin, store } = await openSite();
    const { id, token } = await makeKey(store, { scopes: [...ROLES.viewer] });

    const asked = await send(`${origin}/queues?page=2`, "GET", PAGE);
    expect([asked.status, asked.headers.location]).toEqual([303, "/login?next=%2Fqueues%3Fpage%3D2"]);
    const page = await send(origin + asked.headers.location, "GET", PAGE);
    expect(page.text).toMatch(/<label for="key">API key<\/label>/);
    expect(page.text).toContain('name="next" value="/queues?page=2"');
    expect(page.text).not.toContain("<script");
    expect(page.headers["referrer-policy"], "else browsers hide their origin").toBe("same-origin");

    const body = new URLSearchParams({ key: token, next: "/queues?page=2" }).toString();
    const done = await send(`${origin}/login`, "POST", { ...FORM, origin }, body);
    expect([done.status, done.headers.location]).toEqual([303, "/queues?page=2"]);
    expect(done.headers["set-cookie"]?.[0]).toMatch(
      /^gluellm-\d+=[\w-]{43}; Max-Age=43200; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Strict$/,
    );
    const { seen, changing, session } = await browserOf(origin, done);
    expect(session).toMatchObject({
      keyId: id,
      by: "key",
      role: "viewer",
      tenant: "default",
      scopes: ["read"],
    });
    expect((await send(`${origin}/queues`, "GET", seen)).status).toBe(200);
    expect((await send(`${origin}/api/queues`, "GET", seen)).status).toBe(200);
    expect(codeOf(await send(`${origin}/queues/api/queues/pause`, "PUT", changing))).toEqual([
      403,
      "missing_scope",
    ]);

    const logout = await send(
      `${origin}/logout`,
      "POST",
      { ...FORM, ...seen, origin },
      `csrf=${session.csrfToken}`,
    );
    expect([logout.status, logout.headers.location]).toEqual([303, "/login"]);
    expect((await send(`${origin}/queues`, "GET", seen)).status).toBe(401);
    expect(await store.redis.keys(store.keys.session("*")), "nothing is left").toEqual([]);
  });

  test("by JSON gives the CSRF token, with which the REST routes take what the key allows", async () => {
    const { origin, store } = await openSite();
    const { token } = await makeKey(store, { scopes: ["read", "complete"], rpm: 2 });
    const login = await send(`${origin}/login`, "POST", JSON_BODY, JSON.stringify({ key: token }));
    const headers = { ...JSON_BODY, cookie: cookieOf(login), origin };
    const job = JSON.stringify({ message: "hello", model: "simulator:test" });
    const enqueue = (more: Record<string, string>) =>
      send(`${origin}/api/jobs`, "POST", { ...headers, ...more }, job);
    const csrf = { "x-csrf-token": JSON.parse(login.text).csrfToken as string };
    expect(codeOf(await enqueue({}))).toEqual([403, "csrf_token"]);
    expect(codeOf(await enqueue({ "x-csrf-token": "f".repeat(64) }))).toEqual([403, "csrf_token"]);
    expect(codeOf(await enqueue({ ...csrf, origin: "https://example.org" }))).toEqual([
      403,
      "forbidden_origin",
    ]);
    expect(codeOf(await enqueue({ ...csrf, "sec-fetch-site": "cross-site" }))).toEqual([
      403,
      "forbidden_origin",
    ]);
    const made = await enqueue(csrf);
    expect(made.status, made.text).toBe(202);
    const { id } = JSON.parse(made.text);
    expect((await send(`${origin}/api/jobs/${id}`, "GET", headers)).status).toBe(200);
    const pause = `${origin}/api/queues/completions.simulator.test/pause`;
    expect(codeOf(await send(pause, "POST", { ...headers, ...csrf }))).toEqual([403, "missing_scope"]);
    expect(codeOf(await enqueue(csrf)), "the key's rate").toEqual([429, "key_rate_limit"]);
    // A key in the header needs no token beside it: no page of another site can send one.
    const bearer = { authorization: `Bearer ${token}` };
    expect((await send(`${origin}/api/jobs/${id}`, "GET", bearer)).status).toBe(200);
    expect(codeOf(await send(`${origin}/api/jobs/${id}`))).toEqual([401, "no_api_key"]);
    expect(codeOf(await send(`${origin}/api/nothing`, "GET", headers))).toEqual([404, "unknown_url"]);
  });

  test("ends at once when its key is revoked, or has expired", async () => {
    const { origin, store, logIn } = await openSite();
    const { id, token } = await makeKey(store, { scopes: ["admin"] });
    const { seen, changing } = await browserOf(origin, await logIn(token));
    expect((await send(`${origin}/queues`, "GET", seen)).status).toBe(200);
    await revokeApiKey(store, id);
    expect(codeOf(await send(`${origin}/api/queues`, "GET", seen))).toEqual([401, "revoked_api_key"]);
    expect((await send(`${origin}/queues/api/queues/pause`, "PUT", changing)).status).toBe(401);
    expect((await send(`${origin}/queues`, "GET", seen)).status).toBe(401);
    expect(await store.redis.keys(store.keys.session("*"))).toEqual([]);

    const short = await makeKey(store, { scopes: ["read"], expiresAt: Date.now() + 1000 });
    const login = await browserOf(origin, await logIn(short.token));
    await waitFor(
      "the key's end",
      async () => (await send(`${origin}/queues`, "GET", login.seen)).status === 401,
    );
  });

  test("takes a new id whatever cookie the browser has, and ends that one's session", async () => {
    const { origin, store, logIn } = await openSite();
    const { token } = await makeKey(store, { scopes: ["read"] });
    const planted = `gluellm-${new URL(origin).port}=${"A".repeat(43)}`;
    const first = cookieOf(await logIn(token, { cookie: planted }));
    expect(first).not.toBe(planted);
    expect((await send(`${origin}/queues`, "GET", { cookie: planted })).status).toBe(401);
    const second = cookieOf(await logIn(token, { cookie: first }));
    expect((await send(`${origin}/queues`, "GET", { cookie: first })).status, "the old one").toBe(401);
    expect((await send(`${origin}/queues`, "GET", { cookie: second })).status).toBe(200);
    const stored = await store.redis.keys(store.keys.session("*"));
    expect(stored).toHaveLength(1);
    expect(stored.join(), "only its hash is stored").not.toContain(second.split("=")[1]);
    expect(await store.redis.ttl(stored[0] ?? "")).toBeGreaterThan(0);
  });

  test("with a wrong key says so, and makes the address wait after ten", async () => {
    const { origin, store, logIn } = await openSite();
    const { token } = await makeKey(store, { scopes: ["complete"] });
    const { token: right } = await makeKey(store, { scopes: ["read"] });
    const unfit = await logIn(token);
    expect([unfit.status, unfit.text]).toEqual([403, expect.stringContaining("does not allow")]);
    for (let n = 0; n < 10; n++) {
      const { status, text } = await logIn(n === 0 ? "" : n === 1 ? token.replace(/.$/, "~") : `${n}`);
      expect(status).toBe(401);
      expect(text).toMatch(/<p role="alert" id="fault">.*not valid/);
      expect(text, "not said again").not.toContain(token.slice(0, 30));
    }
    expect((await logIn(right)).status).toBe(429);
    expect((await send(`${origin}/login`, "GET", PAGE)).status, "the page itself").toBe(200);
  });

  test.each([
    ["https://example.org/", "/"],
    ["//example.org/", "/"],
    ["/\\example.org", "/"],
    ["/.//example.org", "/"],
    ["javascript:alert(1)", "/"],
    ['/"><script>', "/%22%3E%3Cscript%3E"],
    ["/queues/queue/a?b=c#d", "/queues/queue/a?b=c"],
  ])("goes on within this server only: next=%s", async (next, expected) => {
    const { origin } = await openSite();
    const { text } = await send(`${origin}/login?next=${encodeURIComponent(next)}`, "GET", PAGE);
    expect(text).toContain(`name="next" value="${expected}"`);
    expect(text).not.toContain("<script");
    const key = new URLSearchParams({ key: TOKEN, next }).toString();
    const { headers } = await send(`${origin}/login`, "POST", FORM, key);
    expect(headers.location).toBe(expected);
  });

  test("by the password holds until another one is set", async () => {
    const { origin, logIn, namespace } = await openSite({ password: "correct horse" });
    expect((await logIn("wrong horse")).status).toBe(401);
    const { seen, session } = await browserOf(origin, await logIn("correct horse"));
    expect(session).toMatchObject({ keyId: null, by: "password", role: "admin" });
    expect((await send(`${origin}/queues`, "GET", seen)).status).toBe(200);
    const other = await openDashboard({ namespace, password: "another horse" });
    const [name, id] = seen.cookie.split("=");
    const moved = `${name?.replace(/\d+$/, new URL(other.url).port)}=${id}`;
    expect((await send(other.url, "GET", { cookie: moved })).status).toBe(401);
  });

  test("through a listed proxy that speaks https has a cookie for https only", async () => {
    const { origin, store, logIn } = await openSite({ trustedProxies: ["loopback"] });
    const { token } = await makeKey(store, { scopes: ["read"] });
    const [cookie = ""] = (await logIn(token, { "x-forwarded-proto": "https" })).headers["set-cookie"] ?? [];
    expect(cookie).toMatch(/^__Host-gluellm-\d+=.*; Secure; SameSite=Strict$/);
    const seen = { cookie: cookie.split(";")[0] ?? "" };
    expect((await send(`${origin}/queues`, "GET", { ...seen, "x-forwarded-proto": "https" })).status).toBe(
      200,
    );
    const direct = await openSite();
    const other = await makeKey(direct.store, { scopes: ["read"] });
    const plain = await direct.logIn(other.token, { "x-forwarded-proto": "https" });
    expect(cookieOf(plain), "anybody could say so").toMatch(/^gluellm-/);
  });
});

describe("Bull Board", () => {
  test.each<[Scope[], string, boolean, boolean]>([
    [["read"], "default", false, false],
    [["read", "content"], "default", true, false],
    [["read", "operate"], "default", false, true],
    [["admin"], "default", true, true],
  ])("for %j of %s: contents %s, changes %s", async (scopes, tenant, sees, changes) => {
    const { origin, namespace, store, logIn } = await openSite();
    const name = "completions.openai.gpt-4o-mini";
    const { queue, work } = await openQueue(namespace, name);
    await queue.add("completion", completionPayload({ batch: { id: "batch_1", line: 17 } }), {
      jobId: "good",
    });
    await work();
    const { token } = await makeKey(store, { scopes, tenant });
    const { seen, changing } = await browserOf(origin, await logIn(token));
    const board = `${origin}/queues/api/queues`;
    const jobUrl = `${board}/openai%3Agpt-4o-mini/good`;
    await waitFor("the job", async () => (await send(jobUrl, "GET", seen)).status === 200);
    const answers = await Promise.all(
      [jobUrl, `${jobUrl}/logs`, `${jobUrl}/flow`, `${board}?activeQueue=openai%3Agpt-4o-mini`].map((url) =>
        send(url, "GET", seen),
      ),
    );
    const told = answers.map(({ text }) => text).join();
    for (const content of ["How many eggs", "The answer is"])
      expect(told.includes(content), content).toBe(sees);
    expect(told).toContain("batch_1");
    expect(JSON.parse(answers[3]?.text ?? "").queues[0].readOnlyMode).toBe(!changes);
    expect((await send(`${board}/pause`, "PUT", changing)).status).toBe(changes ? 200 : 403);
    expect(await queue.isPaused()).toBe(changes);
  });

  test("is for keys of the tenant default, since it has the jobs of all", async () => {
    const { origin, store, logIn } = await openSite();
    const { token } = await makeKey(store, { scopes: ["admin"], tenant: "acme" });
    const { seen } = await browserOf(origin, await logIn(token));
    expect(codeOf(await send(`${origin}/queues/api/queues`, "GET", seen))).toEqual([403, "other_tenant"]);
    expect((await send(`${origin}/api/runs`, "GET", seen)).status, "its own").toBe(200);
  });
});
