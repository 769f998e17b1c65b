import { expect, onTestFinished, test } from "vitest";
import { runCli } from "../support/cli.ts";
import { TestSite } from "../support/site.ts";

/** As on a machine where the packages are not installed. */
const WITHOUT = `
import { registerHooks } from "node:module";
registerHooks({
  resolve(name, context, next) {
    if (/^@opentelemetry\\/(sdk-trace|resources)$|^@sentry/.test(name))
      throw Object.assign(new Error("not found"), { code: "ERR_MODULE_NOT_FOUND" });
    return next(name, context);
  },
});`;

test("packages that are missing are named, with the line that installs them; a misspelt variable is told of", async () => {
  const site = await TestSite.open();
  onTestFinished(() => site[Symbol.asyncDispose]());
  const env = { ...site.env, NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(WITHOUT)}` };
  const [traces, sentry] = await Promise.all([
    runCli(["queues"], { ...env, ENABLE_TRACING: "true", GLUELLM_CACHE_TLL: "5" }, site.folder),
    runCli(["queues"], { ...env, SENTRY_DSN: "http://key@127.0.0.1:1/1" }, site.folder),
  ]);
  expect([traces.code, sentry.code]).toEqual([3, 3]);
  expect(traces.stderr).toContain("traces need packages that are not installed: @opentelemetry/sdk-trace, ");
  expect(traces.stderr).toMatch(
    /npm install @opentelemetry\/sdk-trace@3 @opentelemetry\/exporter-trace-otlp-http@0\.301 .*resources@3/,
  );
  expect(traces.stderr).toContain(
    "warning: GLUELLM_CACHE_TLL is no setting and has no effect; did you mean GLUELLM_CACHE_TTL?",
  );
  expect(sentry.stderr).toMatch(/@sentry\/node(.|\n)*npm install @sentry\/node@11/);
});
