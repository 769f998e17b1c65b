import { expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";
import { makeKey, openApi } from "../support/api.ts";
import { restClient } from "../support/rest-client.ts";
import { LOOPBACK, unwrap } from "../support/webhooks.ts";
import { wireServer } from "../support/wire-server.ts";

test("/api/webhooks: made by an admin, for the tenant of the key; the secret is told once", async () => {
  const { webhooks } = loadSettings({ env: LOOPBACK, cwd: "/" });
  const { url, store } = await openApi({ webhooks });
  const receiver = await wireServer((response) => response.writeHead(204).end());
  const clientOf = async (scope: "admin" | "operate" | "read") =>
    restClient(url, (await makeKey(store, { tenant: "acme", scopes: [scope] })).headers);
  const [admin, operator, reader] = await Promise.all([
    clientOf("admin"),
    clientOf("operate"),
    clientOf("read"),
  ]);

  const asked = { url: `${receiver.url}/hook`, events: ["batch.*"] };
  for (const refused of [operator, reader])
    expect((await refused("POST", "/api/webhooks", asked)).status).toBe(403);
  const made = await admin("POST", "/api/webhooks", asked);
  const { id, secret, ...fields } = made.body;
  expect([made.status, made.headers.get("location")]).toEqual([201, `/api/webhooks/${id}`]);
  expect(fields).toEqual({
    ...asked,
    tenant: "acme",
    state: "enabled",
    dead: 0,
    createdAt: expect.any(String),
  });
  const listed = await operator("GET", "/api/webhooks");
  expect(listed.body.data).toEqual([{ id, ...fields }]);
  expect((await operator("GET", `/api/webhooks/${id}`)).body).toEqual({ id, ...fields });
  expect((await reader("GET", "/api/webhooks")).status).toBe(403);

  expect((await operator("POST", `/api/webhooks/${id}/test`)).body).toMatchObject({ status: 204 });
  const [request] = receiver.requests;
  expect(request && (await unwrap(request, secret))).toMatchObject({ data: { tenant: "acme" } });
  for (const path of ["rotate", "enable", "replay"]) {
    const status = path === "rotate" ? 403 : 200;
    expect([path, (await operator("POST", `/api/webhooks/${id}/${path}`, {})).status]).toEqual([
      path,
      status,
    ]);
  }
  const rotated = await admin("POST", `/api/webhooks/${id}/rotate`, { overlapMs: 60_000 });
  expect(rotated.body.secret).toMatch(/^whsec_/);
  expect(rotated.body.secret).not.toBe(secret);
  expect((await operator("GET", `/api/webhooks/${id}/tries`)).body.data).toEqual([]);

  const wrong: [object, string][] = [
    [{ ...asked, url: "http://169.254.169.254/latest/meta-data" }, "webhook_address"],
    [{ ...asked, url: "ftp://example.com" }, "webhook_url"],
    [{ ...asked, events: ["batches.*"] }, "webhook_events"],
    [{ ...asked, events: [] }, "invalid_request"],
    [{ ...asked, more: 1 }, "invalid_request"],
  ];
  for (const [body, code] of wrong) {
    const answer = await admin("POST", "/api/webhooks", body);
    expect([answer.status, answer.body.error.code]).toEqual([400, code]);
  }
  expect((await operator("POST", `/api/webhooks/${id}/replay`, { eventId: "evt_0" })).status).toBe(404);
  expect((await admin("DELETE", `/api/webhooks/${id}`)).body).toEqual({ id, deleted: true });
  expect((await admin("GET", `/api/webhooks/${id}`)).status).toBe(404);
});
