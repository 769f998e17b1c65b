import { describe, expect, test } from "vitest";
import { mountRest } from "../../src/api/rest-mount.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings, withSettings } from "../../src/shared/settings.ts";
import { peersOf } from "../../src/shared/sso-setting.ts";
import { removeUser, saveUser } from "../../src/store/user.ts";
import { makeKey, openApi } from "../support/api.ts";
import { type Answer, openDashboard, send } from "../support/dashboard.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

const SSO = { GLUELLM_SSO_USER_HEADER: "X-Forwarded-User", GLUELLM_SSO_PROXIES: "loopback" };
const JSON_BODY = { "content-type": "application/json" };
let count = 0;

/** A dashboard behind a proxy that is this process. */
async function openSite(env: Record<string, string> = SSO, password?: string) {
  const namespace = `${testNamespace()}-${count++}`;
  const store = testStore(namespace);
  const settings = withSettings(loadSettings({ env, cwd: temporaryFolder() }), { namespace });
  const logger = createLogger({ level: "silent", json: true });
  const { url } = await openDashboard({
    namespace,
    sso: settings.dashboard.sso,
    ...(password === undefined ? { token: "ab".repeat(32) } : { password }),
    mountRest: (knownCaller) => mountRest({ settings, logger, store }, knownCaller),
  });
  const { origin } = new URL(url);
  const as = (user: string, more: Record<string, string> = {}) => {
    const headers = { ...JSON_BODY, "x-forwarded-user": user, ...more };
    return (method: string, path: string, body?: object) =>
      send(origin + path, method, headers, body && JSON.stringify(body));
  };
  /** With the CSRF token, as pages send it. */
  const actingAs = async (user: string) => {
    const { csrfToken } = JSON.parse((await as(user)("GET", "/session")).text);
    return as(user, { "x-csrf-token": csrfToken, origin });
  };
  return { store, settings, origin, as, actingAs };
}

const codeOf = ({ status, text }: Answer) => [status, JSON.parse(text).error?.code];

describe("a user whom a listed proxy names", () => {
  test("has the role that was given, from the next request on, for REST, console and Bull Board", async () => {
    const { store, as, actingAs } = await openSite();
    expect(codeOf(await as("ada@example.org")("GET", "/api/queues")), "no role").toEqual([401, "no_api_key"]);
    await saveUser(store, "Ada@Example.org ", { role: "viewer" });
    expect(JSON.parse((await as("ADA@example.org")("GET", "/session")).text)).toMatchObject({
      ...{ user: "ada@example.org", by: "sso", role: "viewer", tenant: "default", keyId: null },
    });
    const viewer = await actingAs("ada@example.org");
    expect((await viewer("GET", "/api/queues")).status).toBe(200);
    expect((await viewer("GET", "/queues/api/queues")).status).toBe(200);
    expect(codeOf(await viewer("PUT", "/queues/api/queues/pause"))).toEqual([403, "missing_scope"]);
    expect(codeOf(await viewer("PATCH", "/api/tenants/acme", { weight: 2 }))).toEqual([403, "missing_scope"]);
    expect(codeOf(await viewer("GET", "/api/keys"))).toEqual([403, "missing_scope"]);

    await saveUser(store, "ada@example.org", { role: "operator" });
    expect((await viewer("PUT", "/queues/api/queues/pause")).status).toBe(200);
    expect((await viewer("PATCH", "/api/tenants/acme", { weight: 2 })).status).toBe(200);
    expect(codeOf(await viewer("GET", "/api/keys"))).toEqual([403, "missing_scope"]);

    await saveUser(store, "ada@example.org", { role: "admin", tenant: "acme" });
    expect(codeOf(await viewer("GET", "/queues/api/queues"))).toEqual([403, "other_tenant"]);
    expect((await viewer("GET", "/api/keys")).status, "those of acme").toBe(200);
    expect(codeOf(await viewer("PUT", "/api/users/ada", { role: "admin" }))).toEqual([404, "not_found"]);

    await removeUser(store, "ada@example.org");
    expect((await viewer("GET", "/api/queues")).status).toBe(401);
    await store.redis.hset(store.keys.users, "ada@example.org", '{"role":"god"}');
    expect((await viewer("GET", "/api/queues")).status, "damaged").toBe(401);
  });

  test("changes nothing without the CSRF token, which is another user's for nobody else", async () => {
    const { store, as, actingAs, origin } = await openSite();
    for (const user of ["ada", "eve"]) await saveUser(store, user, { role: "operator" });
    const { csrfToken } = JSON.parse((await as("eve")("GET", "/session")).text);
    const pause = ["PUT", "/queues/api/queues/pause"] as const;
    expect(codeOf(await as("ada")(...pause))).toEqual([403, "csrf_token"]);
    expect(codeOf(await as("ada", { "x-csrf-token": csrfToken })(...pause))).toEqual([403, "csrf_token"]);
    expect(codeOf(await as("ada", { origin: "https://example.org" })(...pause))).toEqual([
      403,
      "forbidden_origin",
    ]);
    expect((await (await actingAs("ada"))(...pause)).status).toBe(200);
    expect((await send(`${origin}/queues`, "GET", {})).status, "and without the header nobody is in").toBe(
      401,
    );
  });

  test("without a role has the default one, if there is one, and else may log in by a key", async () => {
    const open = await openSite({ ...SSO, GLUELLM_SSO_DEFAULT_ROLE: "viewer" });
    expect(JSON.parse((await open.as("anyone")("GET", "/session")).text).role).toBe("viewer");
    for (const name of ["", "two words", "ada,eve", "a".repeat(201)])
      expect([name, (await open.as(name)("GET", "/session")).status]).toEqual([name, 401]);

    const closed = await openSite();
    const { token } = await makeKey(closed.store, { scopes: ["read"] });
    const login = await closed.as("nobody")("POST", "/login", { key: token });
    const cookie = login.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
    expect(JSON.parse((await closed.as("nobody", { cookie })("GET", "/session")).text)).toMatchObject({
      by: "key",
    });
  });

  test("manages keys and roles as an admin, but not the own role; each answer is the server's", async () => {
    const { store, actingAs } = await openSite();
    await saveUser(store, "root", { role: "admin" });
    const admin = await actingAs("root");
    const made = await admin("POST", "/api/keys", {
      name: "ci",
      role: "operator",
      tenant: "acme",
      expiresInSeconds: 60,
    });
    const { id, key } = JSON.parse(made.text);
    expect([made.status, key]).toEqual([201, expect.stringMatching(/^gk_/)]);
    expect(JSON.parse((await admin("GET", "/api/keys")).text).data).toMatchObject([
      { id, name: "ci", tenant: "acme", role: "operator", state: "valid", requests: 0 },
    ]);
    expect((await admin("GET", "/api/keys")).text).not.toContain(key);
    expect((await admin("DELETE", `/api/keys/${id}`)).status).toBe(200);
    expect(JSON.parse((await admin("GET", "/api/keys")).text).data).toMatchObject([{ state: "revoked" }]);
    for (const body of [
      {},
      { role: "god" },
      { role: "viewer", scopes: ["read"] },
      { role: "viewer", rpm: 0 },
    ])
      expect([body, (await admin("POST", "/api/keys", body)).status]).toEqual([body, 400]);

    expect((await admin("PUT", "/api/users/Ada", { role: "viewer" })).status).toBe(200);
    expect(JSON.parse((await admin("GET", "/api/users")).text)).toMatchObject({
      ...{ data: [{ user: "ada", role: "viewer" }, { user: "root" }], sso: { defaultRole: null } },
    });
    expect(codeOf(await admin("PUT", "/api/users/root", { role: "viewer" }))).toEqual([409, "own_role"]);
    expect(codeOf(await admin("DELETE", "/api/users/ROOT"))).toEqual([409, "own_role"]);
    expect(codeOf(await admin("PUT", "/api/users/two%20words", { role: "viewer" }))[0]).toBe(400);
    expect((await admin("DELETE", "/api/users/ada")).status).toBe(200);
    expect((await admin("DELETE", "/api/users/ada")).status).toBe(404);
  });
});

test("the header of any other address counts for nothing, whatever else it sends", async () => {
  const { store, as, origin } = await openSite({ ...SSO, GLUELLM_SSO_PROXIES: "10.1.2.3" });
  await saveUser(store, "root", { role: "admin" });
  const others: Record<string, string>[] = [
    {},
    { "x-forwarded-for": "10.1.2.3" },
    { forwarded: "for=10.1.2.3" },
  ];
  for (const more of others)
    for (const path of ["/session", "/api/keys", "/queues", "/metrics"])
      expect([path, (await as("root", more)("GET", path)).status]).toEqual([path, 401]);
  expect((await send(`${origin}/session`, "GET", { "X-FORWARDED-USER": "root" })).status).toBe(401);

  const api = await openApi(loadSettings({ env: SSO, cwd: temporaryFolder() }));
  await saveUser(api.store, "root", { role: "admin" });
  const asked = await send(`${api.url}/api/keys`, "GET", { "x-forwarded-user": "root" });
  expect(codeOf(asked), "the API takes keys alone").toEqual([401, "no_api_key"]);
});

test("what counts as a listed proxy", () => {
  const cases: readonly [string, string | undefined, boolean][] = [
    ["loopback", "127.0.0.1", true],
    ["loopback", "::ffff:127.0.0.1", true],
    ["loopback", "::1", true],
    ["loopback", "10.0.0.1", false],
    ["10.0.0.0/8", "::ffff:10.9.9.9", true],
    ["10.0.0.0/8", "11.0.0.1", false],
    ["uniquelocal", "fd00::1", true],
    ["linklocal", "169.254.1.1", true],
    ["10.0.0.1", undefined, false],
    ["10.0.0.1", "", false],
  ];
  for (const [proxy, address, isListed] of cases)
    expect([proxy, address, peersOf([proxy])(address)]).toEqual([proxy, address, isListed]);
});

test.each([
  [{ GLUELLM_SSO_USER_HEADER: "X-User" }, "needs GLUELLM_SSO_PROXIES"],
  [{ GLUELLM_SSO_PROXIES: "loopback" }, "GLUELLM_SSO_PROXIES: needs GLUELLM_SSO_USER_HEADER"],
  [{ GLUELLM_SSO_DEFAULT_ROLE: "viewer" }, "GLUELLM_SSO_DEFAULT_ROLE: needs GLUELLM_SSO_USER_HEADER"],
  [{ ...SSO, GLUELLM_SSO_DEFAULT_ROLE: "god" }, "GLUELLM_SSO_DEFAULT_ROLE"],
  [{ ...SSO, GLUELLM_SSO_PROXIES: "everywhere" }, "must be IP addresses"],
  [{ ...SSO, GLUELLM_SSO_USER_HEADER: "Cookie" }, "means something else"],
  [{ ...SSO, GLUELLM_SSO_USER_HEADER: "two words" }, "must be a header's name"],
])("%j is refused", (env, fault) => {
  expect(() => loadSettings({ env, cwd: temporaryFolder() })).toThrow(fault);
});
