import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROLES } from "../../src/shared/scopes.ts";
import { makeKey } from "../support/api.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { completionPayload, openDashboard, openQueue } from "../support/dashboard.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

describe.runIf(chromiumPath)("in a browser", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("after a login by key, a failed job of a model with a slash is found by clicks and retried, with no other site and no error", {
    tags: "long",
  }, async () => {
    const namespace = testNamespace();
    const { queue, work } = await openQueue(namespace, "completions.openrouter.meta-llama%2Fllama-3%3Afree");
    const { url } = await openDashboard({ namespace, token: "ab".repeat(32) });
    const { token } = await makeKey(testStore(namespace), { scopes: [...ROLES.operator] });
    await queue.add("completion", completionPayload(), { jobId: "bad" });
    await work();

    const page = await browser.newPage();
    const faults: string[] = [];
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("pageerror", (error) => faults.push(error.message));
    page.on(
      "request",
      (request) => request.url().startsWith(new URL(url).origin) || faults.push(request.url()),
    );

    await page.goto(new URL("/queues", url).href);
    await page.getByLabel("API key").fill(token);
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "openrouter:meta-llama/llama-3:free" }).first().click();
    await page.getByText("invalid_request (attempt 1): the provider refuses it").first().waitFor();
    await page.getByRole("link", { name: "How many eggs?" }).click();
    await page.waitForURL(/\/bad$/);
    await page.reload();
    await page.getByText("invalid_request (attempt 1): the provider refuses it").first().waitFor();

    // Nothing that the server would refuse.
    for (const icon of ["trash-2", "files", "pencil"]) {
      expect(await page.locator(`button:has(.lucide-${icon}):visible`).count(), icon).toBe(0);
    }
    await page.getByRole("link", { name: "openrouter:meta-llama/llama-3:free" }).first().click();
    await page.locator("button:has(.lucide-ellipsis-vertical)").click();
    const menu = page.locator('[role="menuitem"]:visible');
    await menu.first().waitFor();
    expect(await menu.allTextContents()).toEqual(["Retry all 1 failed jobs", "Pause"]);
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: "How many eggs?" }).click();
    await page.waitForURL(/\/bad$/);

    await page.locator("button:has(.lucide-refresh-cw)").click();
    await page.getByRole("button", { name: "Confirm" }).click();
    await waitFor("the retry", async () => (await (await queue.getJob("bad"))?.getState()) === "waiting");
    await page.close();
    expect(faults).toEqual([]);
  });
});
