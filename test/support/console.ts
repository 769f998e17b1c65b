import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { onTestFinished } from "vitest";
import { startDashboard } from "../../dashboards/server.ts";
import { mountRest } from "../../src/api/rest-mount.ts";
import type { AnyWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import type { Scope } from "../../src/shared/scopes.ts";
import type { Settings } from "../../src/shared/settings.ts";
import { redisTarget } from "../../src/store/redis-target.ts";
import { makeKey } from "./api.ts";
import { watchedPage } from "./chromium.ts";
import { testStore } from "./redis.ts";

const TOKEN = "cd".repeat(32);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The dashboard of a site with its console, as `gluellm up` starts it, and browsers that are logged in to it. */
export async function openConsole(
  browser: Browser,
  settings: Settings,
  workflows: readonly AnyWorkflow[] = [],
) {
  const logger = createLogger({ level: "silent", json: true });
  const store = testStore(settings.namespace);
  const { url, close } = await startDashboard({
    redisTarget: redisTarget(settings.redisUrl as string, settings.namespace),
    ...{ namespace: settings.namespace, host: "127.0.0.1", port: 0, token: TOKEN, logger },
    mountRest: (knownCaller) => mountRest({ settings, logger, store, workflows }, knownCaller),
  });
  onTestFinished(close);
  const { origin } = new URL(url);

  async function open(options: Parameters<Browser["newContext"]>[0], path: string) {
    const context: BrowserContext = await browser.newContext(options);
    onTestFinished(() => context.close());
    const watched = await watchedPage(context, origin);
    await watched.page.goto(path);
    return watched;
  }

  return {
    url,
    origin,
    store,
    /** By the link, whose owner may do everything. */
    openByLink: (options: Parameters<Browser["newContext"]>[0] = {}) => open(options, url),
    /** By a new key with these scopes. */
    async openByKey(scopes: Scope[], options: Parameters<Browser["newContext"]>[0] = {}) {
      const { token } = await makeKey(store, { scopes });
      const watched = await open(options, `${origin}/login`);
      await watched.page.getByLabel(/key/i).fill(token);
      await watched.page.getByRole("button", { name: "Log in" }).click();
      await watched.page.getByRole("heading", { name: "Overview" }).waitFor();
      return watched;
    },
  };
}

/** Returns what axe finds wrong with a page, in a line each. */
export async function axeFaults(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(`axe.run().then(({ violations }) => violations.map(({ id, nodes }) =>
    id + ": " + nodes.map(({ target, failureSummary }) => target + " " + failureSummary).join("; ")))`);
}
