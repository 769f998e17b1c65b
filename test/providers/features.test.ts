import { afterAll, beforeAll, describe, test } from "vitest";
import { FEATURE_TOOLS, FEATURES } from "../support/feature-conformance.ts";
import { FEATURE_PROVIDERS, type FeatureSite, openFeatureSite } from "../support/feature-providers.ts";
import { openClient } from "../support/site-client.ts";

let opened: FeatureSite;

/** One worker process for all providers, each of which has queues of its own. */
beforeAll(async () => {
  opened = await openFeatureSite();
  opened.site.start("worker", "--module", FEATURE_TOOLS);
});
afterAll(() => opened[Symbol.asyncDispose]());

describe.concurrent.each(FEATURE_PROVIDERS)("$kind in the dialect of $dialect", (provider) => {
  test.each(Object.keys(FEATURES))("%s", async (feature) => {
    await using glue = openClient(opened.site, { model: `${provider.entry}:test` });
    const queueGlobs = [`completions.${provider.entry}.local`];
    await FEATURES[feature]?.({
      ...provider,
      glue,
      localClient: (model) => openClient(opened.site, { model, mode: "local", queueGlobs }),
      sent: (text) => opened.sent(provider, text),
    });
  });
});
