import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { AuditConsumer } from "../../src/history/audit-consumer.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { readAuditState, switchAuditOn } from "../../src/store/audit.ts";
import { makeKey } from "../support/api.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { restClient } from "../support/rest-client.ts";
import { waitFor } from "../support/wait-for.ts";

describe.runIf(chromiumPath && inject("isFull"))("the console's page of the audit", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("shows who did what, finds it, and checks the chain", async () => {
    const env = {
      ...{ GLUELLM_NAMESPACE: testNamespace(), GLUELLM_DATA_DIR: temporaryFolder(), GLUELLM_HISTORY: "true" },
      ...{ GLUELLM_REDIS_URL: `unix://${inject("redisSocket")}`, GLUELLM_AUDIT_KEY: "k".repeat(40) },
    };
    const settings = loadSettings({ env, cwd: "/" });
    const store = testStore(settings.namespace);
    await switchAuditOn(store, 1000);
    const logger = createLogger({ level: "silent", json: true });
    const consumer = new AuditConsumer({ store, settings, logger, idleMs: 20 });
    onTestFinished(() => consumer.close());
    const { openByLink, openByKey, origin } = await openConsole(browser, settings);
    const { page, faults } = await openByLink();
    const csrf = await page.evaluate<string>(
      `fetch("/session").then((response) => response.json()).then((session) => session.csrfToken)`,
    );
    const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
    const ask = restClient(origin, { cookie, origin, "x-csrf-token": csrf });
    await ask("PATCH", "/api/tenants/acme", { weight: 2 });
    await ask("POST", "/api/jobs/job-none/cancel");
    await makeKey(store);
    await waitFor("the acts are in SQL", async () => {
      const { waiting, number } = await readAuditState(store);
      return waiting === 0 && number >= 4;
    });
    for (const options of [
      { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
      { viewport: { width: 320, height: 640 }, colorScheme: "dark" },
    ] as const) {
      const { page } = await openByLink(options);
      await page.goto(`${origin}/audit`);
      await page.locator("tr", { hasText: "PATCH /api/tenants/:name" }).waitFor();
      await page.locator("tr", { hasText: "job-none" }).getByText("not found").waitFor();
      await page.getByRole("button", { name: "Check the chain" }).click();
      await page.getByText("sound", { exact: true }).waitFor();
      expect(await axeFaults(page)).toEqual([]);
      expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBe(
        options.viewport.width,
      );
    }
    await page.goto(`${origin}/audit`);
    await page.getByLabel("Did").fill("tenants");
    await page.waitForURL(/action=tenants/);
    await page.locator("tr", { hasText: "job-none" }).waitFor({ state: "detached" });
    const row = page.locator("tr", { hasText: "acme" });
    expect(await row.textContent()).toContain("link");
    expect(await row.textContent()).toContain("made");
    expect(faults).toEqual([]);

    const reader = await openByKey(["read"]);
    expect(await reader.page.getByRole("link", { name: "Audit" }).count()).toBe(0);
  });
});
