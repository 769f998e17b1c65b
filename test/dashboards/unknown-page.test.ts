import { expect, onTestFinished, test } from "vitest";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { workflowSite } from "../support/workflow-site.ts";

test.runIf(chromiumPath)(
  "an address that is no page is told so in the console, with the way home",
  { tags: "long" },
  async () => {
    const browser = await launchChromium();
    onTestFinished(() => browser.close());
    const { settings } = await workflowSite();
    const { openByLink, origin } = await openConsole(browser, settings);
    const { page } = await openByLink();
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const answer = await page.goto(`${origin}/no-such/page/at-all`);
      expect(answer?.status()).toBe(404);
      await page.getByRole("heading", { name: "There is no such page" }).waitFor();
      expect(await page.title()).toBe("Not found · GlueLLM");
      expect(await axeFaults(page)).toEqual([]);
    }
    await page.getByRole("link", { name: "Back to the overview" }).click();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    // A page of its own has no third part.
    expect((await page.goto(`${origin}/jobs/a/b`))?.status()).toBe(404);
    await page.getByRole("heading", { name: "There is no such page" }).waitFor();
    const told = await page.context().request.get(`${origin}/nothing`);
    expect([told.status(), await told.text()]).toEqual([404, "Not found\n"]);
  },
);
