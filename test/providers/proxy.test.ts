import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { routeTo } from "../../src/providers/proxy.ts";
import { ConfigurationError } from "../../src/shared/errors.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { callOf, failureOf, goodBody, TEST_KEY, testAdapter, testEntry } from "../support/provider.ts";
import { deadUrl, sendJson, wireServer } from "../support/wire-server.ts";

const PROXY = "http://proxy.test:3128";

it.each<[string, Record<string, string>, string | undefined]>([
  ["https://api.openai.com", {}, undefined],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY }, PROXY],
  ["https://api.openai.com", { https_proxy: PROXY, HTTPS_PROXY: "http://other.test" }, PROXY],
  ["https://api.openai.com", { https_proxy: "", HTTPS_PROXY: PROXY }, PROXY],
  ["https://api.openai.com", { HTTP_PROXY: PROXY }, undefined],
  ["http://llm.internal:8000", { HTTP_PROXY: "proxy.test:3128" }, PROXY],
  ["http://llm.internal:8000", { HTTPS_PROXY: PROXY }, undefined],
  ["https://api.openai.com", { ALL_PROXY: PROXY }, PROXY],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "*" }, undefined],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "openai.com" }, undefined],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "localhost, .openai.com" }, undefined],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY, no_proxy: "*.openai.com" }, undefined],
  ["https://openai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "*.openai.com" }, PROXY],
  ["https://notopenai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "openai.com" }, PROXY],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "api.openai.com:443" }, undefined],
  ["https://api.openai.com", { HTTPS_PROXY: PROXY, NO_PROXY: "api.openai.com:8443" }, PROXY],
  ["http://10.1.2.3:8000", { HTTP_PROXY: PROXY, NO_PROXY: "10.0.0.0/8" }, undefined],
  ["http://11.1.2.3:8000", { HTTP_PROXY: PROXY, NO_PROXY: "10.0.0.0/8, fd00::/8, bad/8" }, PROXY],
  ["http://[::1]:8000", { HTTP_PROXY: PROXY, NO_PROXY: "::1" }, undefined],
  ["http://[::1]:8000", { HTTP_PROXY: PROXY, NO_PROXY: "[::1]:8000" }, undefined],
])("%s with %o goes through %s", (url, variables, proxy) => {
  const route = routeTo(new URL(url), variables);
  expect(route.proxy?.href).toBe(proxy && `${proxy}/`);
});

it("the address of a proxy that is none is named by its variable, without what it holds", () => {
  const route = () => routeTo(new URL("https://a.test"), { HTTPS_PROXY: "ftp://me:secret@proxy.test" });
  expect(route).toThrow(ConfigurationError);
  expect(route).toThrow(/^HTTPS_PROXY is not the address of a proxy$/);
});

/** A proxy that notes what passes, and leads all of it to one server. */
async function proxyTo(target: string) {
  const seen: string[] = [];
  const server: Server = createServer(async (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers["proxy-authorization"] ?? ""}`.trim());
    const body = await new Response(request as unknown as ReadableStream).text();
    const { pathname } = new URL(request.url ?? "");
    const { authorization = "" } = request.headers;
    const init = { method: "POST", body, headers: { "content-type": "application/json", authorization } };
    const answer = await fetch(target + pathname, init);
    sendJson(response, await answer.text(), answer.status);
  });
  server.on("connect", (request, socket) => {
    seen.push(`CONNECT ${request.url}`);
    socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { seen, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

it("a call goes through the proxy of the environment to a host that only the proxy knows", async () => {
  const provider = await wireServer((response) => sendJson(response, goodBody("openai")));
  const proxy = await proxyTo(provider.url);
  const env = { HTTP_PROXY: `http://me:secret@${proxy.host}`, NO_PROXY: "localhost" };
  const { proxyVariables } = loadSettings({ env, cwd: "/" }).system;
  const adapter = testAdapter(testEntry("openai", "http://provider.invalid"), { proxyVariables });
  const reply = await adapter.complete(callOf("openai", "Hello"));
  expect(reply.body.choices[0]?.message.content).toBe("Four.");
  const credentials = Buffer.from("me:secret").toString("base64");
  expect(proxy.seen).toEqual([`POST http://provider.invalid/v1/chat/completions Basic ${credentials}`]);
  expect(provider.requests[0]?.headers.authorization).toBe(`Bearer ${TEST_KEY}`);
});

it("a host that cannot be reached is named with the proxy that was used, or why none was", async () => {
  const proxy = await proxyTo("http://127.0.0.1:1");
  const tries: [string, Record<string, string>, RegExp][] = [
    [
      "https://provider.invalid",
      { HTTPS_PROXY: `http://me:secret@${proxy.host}` },
      /the proxy answered 502\), through the proxy http:\/\/127\.0\.0\.1:\d+ of HTTPS_PROXY/,
    ],
    ["https://provider.invalid", { HTTPS_PROXY: await deadUrl() }, /ECONNREFUSED.*through the proxy/],
    [await deadUrl(), { HTTPS_PROXY: PROXY }, /ECONNREFUSED\), directly: HTTP_PROXY is not set/],
    [await deadUrl(), { HTTP_PROXY: PROXY, no_proxy: "127.0.0.1" }, /directly: no_proxy names 127\.0\.0\.1/],
  ];
  for (const [url, proxyVariables, told] of tries) {
    const adapter = testAdapter(testEntry("openai", url), { proxyVariables });
    const error = (await failureOf(adapter.complete(callOf("openai", "Hello")))) as Error;
    expect(error.message).toMatch(told);
    expect(JSON.stringify(error) + error.message).not.toContain("secret");
  }
  expect(proxy.seen).toEqual(["CONNECT provider.invalid:443"]);
});

it("the simulator of this machine is called directly, whatever the environment says", async () => {
  const provider = await wireServer((response) => sendJson(response, goodBody("openai")));
  const proxyVariables = { HTTP_PROXY: await deadUrl() };
  const entry = { ...testEntry("openai", provider.url), name: "simulator" };
  await testAdapter(entry, { proxyVariables }).complete(callOf("openai", "Hello"));
  expect(provider.requests).toHaveLength(1);
});
