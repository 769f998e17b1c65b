import { expect, test } from "vitest";
import { saveTenant } from "../../src/store/tenant.ts";
import { makeKey, openApi } from "../support/api.ts";
import { restClient } from "../support/rest-client.ts";
import { MODEL } from "../support/site.ts";
import { workflowSite } from "../support/workflow-site.ts";

test("limits of tenants are set by keys of default, seen by their own, and hold for requests", async () => {
  const opened = await workflowSite();
  const { url, store } = await openApi(opened.settings);
  const as = async (tenant: string) =>
    restClient(url, (await makeKey(store, { tenant, scopes: ["complete", "read", "operate"] })).headers);
  const [operator, red, blue] = await Promise.all(["default", "red", "blue"].map(as));
  if (!operator || !red || !blue) throw new Error("three clients");

  const limits = { weight: 2, maxQueuedJobs: 1, maxCostUsdPerDay: 5 };
  expect(await operator("PATCH", "/api/tenants/red", limits)).toMatchObject({ status: 200, body: limits });
  expect(await operator("PATCH", "/api/tenants/red", { weight: null })).toMatchObject({
    status: 200,
    body: { maxQueuedJobs: 1, maxCostUsdPerDay: 5 },
  });
  expect((await operator("PATCH", "/api/tenants/red", { weight: 0 })).status).toBe(400);
  expect((await operator("PATCH", "/api/tenants/red", { wait: 1 })).status).toBe(400);
  expect((await red("PATCH", "/api/tenants/red", { maxQueuedJobs: 100 })).status).toBe(404);
  expect((await red("DELETE", "/api/tenants/red")).status).toBe(404);

  const job = { message: "later", model: MODEL, delayMs: 3_600_000 };
  expect((await red("POST", "/api/jobs", job)).status).toBe(202);
  expect(await red("POST", "/api/jobs", job)).toMatchObject({
    status: 429,
    body: { error: { code: "tenant_queue_full" } },
  });
  expect((await blue("POST", "/api/jobs", job)).status).toBe(202);

  await saveTenant(store, "blue", { weight: 1 });
  const own = (await red("GET", "/api/tenants")).body.data;
  expect(own).toMatchObject([{ tenant: "red", openJobs: 1, spentUsdToday: 0, spentUsdThisMonth: null }]);
  expect((await operator("GET", "/api/tenants")).body.data).toHaveLength(2);
  expect((await operator("DELETE", "/api/tenants/red")).body).toEqual({ removed: true });
});
