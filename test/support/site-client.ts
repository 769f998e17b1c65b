import { onTestFinished } from "vitest";
import { GlueLLM, type GlueLLMOptions } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { outputOf } from "./processes.ts";
import { MODEL, type TestSite } from "./site.ts";

/** A client of the site's fleet, which the caller closes: concurrent tests have no end of their own to hang it on. */
export function openClient(site: TestSite, options: GlueLLMOptions = {}): GlueLLM {
  const settings = loadSettings({ env: site.env, cwd: "/" });
  return new GlueLLM({ model: MODEL, mode: "fleet", settings, ...options });
}

/** A client of the site's fleet, closed with the test. */
export function siteClient(site: TestSite, options: GlueLLMOptions = {}): GlueLLM {
  const client = openClient(site, options);
  onTestFinished(() => client.close());
  return client;
}

/** Runs a program to its end; returns what it printed. */
export function runProgram(path: string, args: readonly string[], env: Record<string, string>) {
  return outputOf(process.execPath, [path, ...args], { env });
}
