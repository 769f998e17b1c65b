import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { mountRest } from "../../src/api/rest-mount.ts";
import { sha256 } from "../../src/shared/digest.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings, withSettings } from "../../src/shared/settings.ts";
import { makeKey } from "../support/api.ts";
import { openDashboard, send } from "../support/dashboard.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

/* What somebody who wants in tries at the dashboard, row by row. One server; nothing of it may be a 5xx. */

const TOKEN = "cd".repeat(32);
const FORM = { "content-type": "application/x-www-form-urlencoded" };
const JSON_BODY = { "content-type": "application/json" };

async function openSite() {
  const namespace = testNamespace();
  const store = testStore(namespace);
  const settings = withSettings(loadSettings({ env: {}, cwd: temporaryFolder() }), { namespace });
  const logger = createLogger({ level: "silent", json: true });
  const dashboard = await openDashboard({
    ...{ namespace, token: TOKEN, logger },
    mountRest: (knownCaller) => mountRest({ settings, logger, store }, knownCaller),
  });
  const { origin, port } = new URL(dashboard.url);
  const { token } = await makeKey(store, { scopes: ["admin"] });
  const logIn = async () => {
    const answer = await send(`${origin}/login`, "POST", JSON_BODY, JSON.stringify({ key: token }));
    const cookie = answer.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    return { cookie, csrf: JSON.parse(answer.text).csrfToken as string };
  };
  return { store, origin, port, token, logIn };
}

test.each<[string, Record<string, string>, string | Buffer, number]>([
  ["an object for the key", JSON_BODY, '{"key":{"$ne":null}}', 401],
  ["a list for the key", JSON_BODY, '{"key":["a"]}', 401],
  ["a prototype", JSON_BODY, '{"__proto__":{"key":"x"},"constructor":1}', 401],
  ["no object", JSON_BODY, "[]", 401],
  ["no JSON", JSON_BODY, "{", 400],
  ["nesting", JSON_BODY, `${"[".repeat(8000)}${"]".repeat(8000)}`, 401],
  ["a large body", JSON_BODY, JSON.stringify({ key: "x".repeat(20_000) }), 413],
  ["a bomb", { ...JSON_BODY, "content-encoding": "gzip" }, gzipSync("x".repeat(5_000_000)), 413],
  ["a large form", FORM, `key=${"x".repeat(20_000)}`, 413],
  ["many fields", FORM, Array.from({ length: 100 }, (_, n) => `a${n}=1`).join("&"), 413],
  ["two keys", FORM, "key=a&key=b", 401],
  ["a nested field", FORM, "key[__proto__]=a", 401],
  ["broken escapes", FORM, "key=%zz%", 401],
  ["text", { "content-type": "text/plain" }, "key=a", 401],
  ["multipart", { "content-type": "multipart/form-data; boundary=b" }, "--b--", 401],
  ["nothing", {}, "", 401],
])("a login with %s", async (_name, headers, body, status) => {
  const { origin } = await openSite();
  const answer = await send(`${origin}/login`, "POST", headers, body);
  expect(answer.status).toBe(status);
  expect(answer.headers["set-cookie"]).toBeUndefined();
  expect(answer.text, "what is said of it").not.toMatch(/at .*\.ts:\d|node_modules/);
});

describe("somebody who is logged in", () => {
  test("is asked for the token of this session, in the header or a form's field", async () => {
    const site = await openSite();
    const [own, other] = [await site.logIn(), await site.logIn()];
    const { cookie } = own;
    const pause = (
      headers: Record<string, string>,
      path = "/queues/api/queues/pause",
      method = "PUT",
      body = "",
    ) => send(`${site.origin}${path}`, method, headers, body);
    const token = "x-csrf-token";
    expect((await pause({ cookie, [token]: own.csrf })).status).toBe(200);
    const refused: Record<string, string>[] = [
      { cookie },
      { cookie, [token]: "" },
      { cookie, [token]: other.csrf },
      { cookie, [token]: own.csrf.toUpperCase() },
      { cookie, [token]: `${own.csrf},${own.csrf}` },
      { cookie, "x-xsrf-token": own.csrf },
      { cookie: `${cookie}; csrf=${own.csrf}; x-csrf-token=${own.csrf}` },
      { cookie, [token]: own.csrf, origin: "null" },
      { cookie, [token]: own.csrf, origin: `http://127.0.0.1:${Number(site.port) + 1}` },
      { cookie, [token]: own.csrf, origin: `http://localhost:${site.port}` },
      { cookie, [token]: own.csrf, origin: `${site.origin}.evil.example` },
      { cookie, [token]: own.csrf, "sec-fetch-site": "same-site" },
      { cookie, [token]: own.csrf, host: "evil.example" },
    ];
    for (const headers of refused) expect([headers, (await pause(headers)).status]).toEqual([headers, 403]);
    expect((await pause({ cookie }, `/queues/api/queues/pause?csrf=${own.csrf}`)).status).toBe(403);
    for (const body of [`csrf[]=${own.csrf}`, `csrf=${own.csrf}&csrf=${own.csrf}`, "csrf="])
      expect((await pause({ cookie, ...FORM }, "/logout", "POST", body)).status, body).toBe(403);
    for (const override of ["x-http-method-override", "x-method-override"])
      expect((await pause({ cookie, [override]: "PUT" }, "/queues/api/queues/pause", "POST")).status).toBe(
        403,
      );
    expect((await pause({ cookie }, "/api/schedules/none", "DELETE")).status).toBe(403);
    expect((await pause({ [token]: own.csrf })).status, "no cookie").toBe(401);
  });

  test("is logged in by nothing that only looks like the cookie", async () => {
    const { store, origin, token, logIn } = await openSite();
    const { cookie } = await logIn();
    const [name = "", id = ""] = cookie.split("=");
    await store.redis.set(store.keys.session(sha256("A".repeat(43))), "{damaged", "EX", 60);
    const none = [
      ...[`${name}=`, `${name}=${id.slice(1)}`, `${name}=${id}A`, `${name}="${id}"`, `${name}=../${id}`],
      ...[
        `x${cookie}`,
        `__Host-${cookie}`,
        `gluellm-1=${id}`,
        `${name}=${token}`,
        `${name}=${TOKEN}`,
        "=;=;;",
      ],
      `${name}=${"A".repeat(43)}`,
    ];
    for (const text of none)
      expect([text, (await send(`${origin}/session`, "GET", { cookie: text })).status]).toEqual([text, 401]);
    expect((await send(`${origin}/session`, "GET", { cookie: `a=b; ${cookie}` })).status).toBe(200);
    const large = { cookie: `${name}=${"x".repeat(20_000)}` };
    expect((await send(`${origin}/session`, "GET", large)).status).toBe(431);
  });

  test("sees no header for pages of other origins, and everything is kept out of caches and frames", async () => {
    const { origin, logIn } = await openSite();
    const { cookie } = await logIn();
    for (const path of ["/login", "/session", "/api/queues", "/queues", "/nothing"]) {
      const { headers } = await send(`${origin}${path}`, "GET", { cookie, accept: "text/html" });
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
      expect(headers["x-powered-by"]).toBeUndefined();
      expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    }
    const asked = { origin: "https://evil.example", "access-control-request-method": "POST" };
    expect((await send(`${origin}/api/jobs`, "OPTIONS", asked)).status).toBe(403);
    for (const path of ["/login", "/session"])
      expect((await send(`${origin}${path}`, "GET", { cookie })).headers["cache-control"]).toBe("no-store");
  });
});

test("no spelling of the login goes by the throttle, and no header makes another address", async () => {
  const { origin, token } = await openSite();
  for (let n = 0; n < 10; n++)
    await send(`${origin}/login`, "POST", { ...FORM, "x-forwarded-for": `203.0.113.${n}` }, `key=${n}`);
  const key = `key=${token}`;
  for (const path of [
    "/login",
    "/login/",
    "/LOGIN",
    "/%6cogin",
    "//login",
    "/login?a",
    "/x/../login",
    "/login;a",
  ]) {
    for (const header of ["x-nothing", "x-forwarded-for", "forwarded"]) {
      const { status, headers: told } = await send(
        `${origin}${path}`,
        "POST",
        { ...FORM, [header]: "198.51.100.1" },
        key,
      );
      expect([path, [401, 404, 429].includes(status), told["set-cookie"]]).toEqual([path, true, undefined]);
    }
  }
  expect((await send(`${origin}/login?key=${token}`, "GET")).headers["set-cookie"], "by GET").toBeUndefined();
  expect((await send(`${origin}/login`, "PUT", FORM, key)).status).not.toBe(200);
});

test("a client that sends its form byte by byte holds up nobody", async () => {
  const { origin, port, logIn } = await openSite();
  const slow = connect(Number(port), "127.0.0.1");
  await once(slow, "connect");
  slow.on("error", () => {});
  slow.write(
    `POST /login HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{`,
  );
  expect((await send(`${origin}/login`)).status).toBe(200);
  expect((await logIn()).csrf).toMatch(/^[0-9a-f]{64}$/);
  slow.destroy();
});
