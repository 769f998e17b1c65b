import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { keyIdOf, newToken } from "../../src/shared/api-token.ts";
import { makeKey, openApi } from "../support/api.ts";
import { send } from "../support/dashboard.ts";
import { TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const errorOf = (text: string) => JSON.parse(text).error;

describe("a request", () => {
  test("needs a key, as bearer or as x-api-key", async () => {
    const { url, store } = await openApi();
    const { token } = await makeKey(store);
    const models = (headers: Record<string, string>) => send(`${url}/v1/models`, "GET", headers);
    const right: Record<string, string>[] = [
      { authorization: `Bearer ${token}` },
      { authorization: `bearer  ${token}` },
      { "x-api-key": token },
    ];
    for (const headers of right) expect((await models(headers)).status).toBe(200);
    const wrong = [
      {},
      { authorization: token },
      { authorization: "Bearer " },
      { authorization: `Bearer ${token}x` },
      { authorization: `Bearer ${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}` },
      { authorization: `Bearer ${newToken()}` },
      { authorization: `Basic ${Buffer.from(`x:${token}`).toString("base64")}` },
      { authorization: "Bearer sk-something" },
    ];
    for (const headers of wrong) {
      const { status, headers: told, text } = await models(headers as Record<string, string>);
      expect([headers, status, told["x-should-retry"]]).toEqual([headers, 401, "false"]);
      expect(errorOf(text)).toMatchObject({ type: "authentication_error", param: null });
      expect(text, "what was sent is not said again").not.toContain(token.slice(0, 20));
    }
  });

  test("is refused when its key is revoked, has expired, or does not allow it", async () => {
    const { url, store } = await openApi();
    const models = async (headers: Record<string, string>) => {
      const { status, text } = await send(`${url}/v1/models`, "GET", headers);
      return [status, status === 200 ? "" : errorOf(text).code];
    };
    const { headers: viewer } = await makeKey(store, { scopes: ["read"] });
    expect(await models(viewer)).toEqual([403, "missing_scope"]);
    const { headers: expired } = await makeKey(store, { expiresAt: Date.now() - 1 });
    expect(await models(expired)).toEqual([401, "expired_api_key"]);
  });
});

describe("the commands", () => {
  test("a key is shown once, works, is listed with its use, and ends with its revocation", async () => {
    const site = await TestSite.open();
    onTestFinished(() => site[Symbol.asyncDispose]());
    const made = await site.run(
      "keys",
      "create",
      "--name",
      "mine",
      "--rpm",
      "60",
      "--max-usd",
      "5",
      "--expires",
      "2h",
    );
    expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^gk_[0-9a-f]{32}_[\w-]{43}\n$/) });
    const token = made.stdout.trim();
    const { url, store } = await openApi({ namespace: site.namespace });
    const headers = { authorization: `Bearer ${token}` };
    expect((await send(`${url}/v1/models`, "GET", headers)).status).toBe(200);
    const listed = await site.run("keys", "list", "--json");
    expect(
      listed.stdout +
        JSON.stringify(await store.redis.hgetall(store.keys.apiKey(JSON.parse(listed.stdout)[0].id))),
    ).not.toContain(token.slice(-43));
    const [key] = JSON.parse(listed.stdout);
    expect(key).toMatchObject({
      name: "mine",
      tenant: "default",
      rpm: 60,
      maxCostUsd: 5,
      requests: 1,
      spentUsd: 0,
    });
    expect(key.scopes).toEqual(["complete", "batch", "workflow", "read"]);
    expect(await site.run("keys", "revoke", token)).toMatchObject({
      code: 0,
      stdout: `${key.id} is revoked\n`,
    });
    expect((await send(`${url}/v1/models`, "GET", headers)).status, "at once").toBe(401);
    expect((await site.run("keys", "list")).stdout).toMatch(/revoked/);
  });

  test("is found by its id, by the whole of it, and by its beginning", () => {
    const digits = "0123456789abcdef".repeat(2);
    for (const text of [`key_${digits}`, `gk_${digits}`, `gk_${digits}_`, `gk_${digits}_secret`])
      expect(keyIdOf(text)).toBe(`key_${digits}`);
    for (const text of ["", digits, `gk_${digits}0`, `key_${digits}_secret`, "gk_short"])
      expect(keyIdOf(text)).toBe(undefined);
  });

  test.each([
    [["create", "--scope", "everything"], "there is no scope"],
    [["create", "--role", "king"], "there is no role"],
    [["create", "--tenant", "a b"], "tenant"],
    [["create", "--expires", "yesterday"], "no time to come"],
    [["revoke", "gk_a-secret-cut-in-front"], "no key gk_…\n"],
  ])("%j is refused", async (args, said) => {
    const site = await TestSite.open();
    onTestFinished(() => site[Symbol.asyncDispose]());
    expect(await site.run("keys", ...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(said) });
  });
});

test("the first start makes a key for its data folder and prints the line to paste; the next one takes the same", {
  tags: "long",
}, async () => {
  const site = await TestSite.open();
  onTestFinished(() => site[Symbol.asyncDispose]());
  const start = async () => {
    const api = site.start("api", "--port", "0");
    const line = /^export OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(gk_\S+)$/m;
    await waitFor("the line to paste", () => line.test(api.stderr()));
    const [, url = "", token = ""] = line.exec(api.stderr()) ?? [];
    const { status } = await send(`${url}/models`, "GET", { authorization: `Bearer ${token}` });
    api.child.kill("SIGTERM");
    expect([status, await api.exit]).toEqual([200, 143]);
    return token;
  };
  const token = await start();
  const path = join(site.folder, ".gluellm", `api-key.${site.namespace}`);
  expect(readFileSync(path, "utf8").trim()).toBe(token);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(await start(), "the same again").toBe(token);
  rmSync(path);
  expect(await start(), "a new one").not.toBe(token);
});
