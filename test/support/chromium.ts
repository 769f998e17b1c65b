import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

/** The browser of this machine; undefined when there is none in PATH or at $CHROMIUM. */
export const chromiumPath = findChromium();

if (!chromiumPath) console.warn("Browser tests skipped: no Chromium in PATH or at $CHROMIUM");

function findChromium(): string | undefined {
  const names = ["chromium", "google-chrome", "google-chrome-stable"];
  const inPath = (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)));
  return [process.env.CHROMIUM ?? "", ...inPath].find((path) => path !== "" && existsSync(path));
}

export function launchChromium(): Promise<Browser> {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
  return chromium.launch({ executablePath: chromiumPath, args });
}

/**
 * A page and what went wrong on it: errors of its scripts and of its console, requests to other sites, and whatever the content
 * security policy refused.
 */
export async function watchedPage(
  context: BrowserContext,
  origin: string,
): Promise<{ page: Page; faults: string[] }> {
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("dialog", (dialog) => {
    faults.push(`a script opened a dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !url.startsWith("data:")) faults.push(`asked ${url}`);
  });
  await page.exposeFunction("reportRefused", (what: string) => faults.push(`the policy refused ${what}`));
  await page.addInitScript({
    content: `document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
      reportRefused(violatedDirective + " " + blockedURI);
    });`,
  });
  return { page, faults };
}
