import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { listApiKeys } from "../../src/store/api-key.ts";
import { listTenants, saveTenant } from "../../src/store/tenant.ts";
import { listUsers } from "../../src/store/user.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { workflowSite } from "../support/workflow-site.ts";

describe.runIf(chromiumPath && inject("isFull"))("tenants, keys and users in the console", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  const open = async () => openConsole(browser, (await workflowSite()).settings);
  const press = async (page: Page, name: string, row?: string) => {
    const place = row === undefined ? page.locator("main") : page.locator("tr", { hasText: row });
    await place.getByRole("button", { name, exact: true }).first().click();
    return page.getByRole("dialog");
  };

  test("a tenant's limits are set when the dialog has shown what will be; damaged ones are written anew", async () => {
    const { openByLink, origin, store } = await open();
    await saveTenant(store, "acme", { rpm: 600, maxQueuedJobs: 5 });
    await store.redis.hset(store.keys.tenants, "broken", "{");
    const { page, faults } = await openByLink();
    await page.goto(`${origin}/tenants`);
    const dialog = await press(page, "Set", "acme");
    await dialog.getByText("Nothing changes.").waitFor();
    await dialog.getByLabel("Weight").fill("3");
    await dialog.getByLabel("Calls a minute").fill("");
    await dialog.getByText("Weight: 1 → 3; Calls a minute: 600 → no limit").waitFor();
    await dialog.getByText("75 % of a queue").waitFor();
    await dialog.getByLabel("Days of results").fill("3");
    await dialog.getByText("Days of results: as for all → 3 days").waitFor();
    expect(await axeFaults(page)).toEqual([]);
    await dialog.getByRole("button", { name: "Set" }).click();
    await page.locator(".notice", { hasText: "acme is set" }).waitFor();
    expect((await listTenants(store)).get("acme")).toEqual({ weight: 3, maxQueuedJobs: 5, resultDays: 3 });

    const mending = await press(page, "Set", "broken");
    await mending.getByText(/damaged: all of it is written anew/).waitFor();
    await mending.getByLabel("Calls at a time").fill("0");
    await mending.getByRole("button", { name: "Set" }).click();
    await mending.getByRole("alert").waitFor();
    await mending.getByLabel("Calls at a time").fill("4");
    await mending.getByRole("button", { name: "Set" }).click();
    await page.locator(".notice", { hasText: "broken is set" }).waitFor();
    expect((await listTenants(store)).get("broken")).toEqual({ maxInFlight: 4 });
    expect(faults.filter((fault) => !/status of 400/.test(fault))).toEqual([]);
  });

  test("an admin makes and revokes keys and gives roles; a viewer finds neither", async () => {
    const { openByLink, openByKey, origin, store } = await open();
    const { page, faults } = await openByLink();
    await page.goto(`${origin}/access`);
    const making = await press(page, "Make a key");
    await making.getByLabel("Name").fill("ci");
    await making.getByLabel("Role").selectOption("operator");
    await making.getByLabel("Tenant").fill("acme");
    await making.getByRole("button", { name: "Make a key" }).click();
    await page.locator("code", { hasText: /^gk_/ }).waitFor();
    expect(await listApiKeys(store)).toMatchObject([
      { name: "ci", tenant: "acme", scopes: expect.arrayContaining(["operate"]) },
    ]);
    await page.getByRole("button", { name: "I have it" }).click();
    const revoking = await press(page, "Revoke", "ci");
    await revoking.getByRole("button", { name: "Revoke" }).click();
    await page.locator("tr", { hasText: "ci" }).locator(".badge", { hasText: "revoked" }).waitFor();

    const giving = await press(page, "Give a role");
    await giving.getByLabel(/User/).fill("Ada@example.org");
    await giving.getByRole("button", { name: "Give a role" }).click();
    await page.getByText("ada@example.org is viewer.").waitFor();
    const changing = await press(page, "Change", "ada@example.org");
    await changing.getByLabel("Role").selectOption("admin");
    await changing.getByRole("button", { name: "Change" }).click();
    await page.locator("td", { hasText: /^admin$/ }).waitFor();
    expect(await listUsers(store)).toMatchObject([{ user: "ada@example.org", role: "admin" }]);
    expect(faults).toEqual([]);

    const { page: viewers } = await openByKey(["read"]);
    expect(await viewers.getByRole("link", { name: "Access", exact: true }).count()).toBe(0);
    await viewers.goto(`${origin}/access`);
    await viewers.getByRole("heading", { name: "There is no such page" }).waitFor();
    await viewers.goto(`${origin}/tenants`);
    await viewers.getByRole("heading", { name: "Tenants" }).waitFor();
    expect(await viewers.getByRole("button", { name: "Add a tenant" }).count()).toBe(0);
  });
});
