import { afterAll, beforeAll, describe, test } from "vitest";
import { FEATURE_TOOLS, FEATURES } from "../support/feature-conformance.ts";
import { type FeatureSite, featureProvider, KINDS, openFeatureSite } from "../support/feature-providers.ts";
import { WIRES } from "../support/provider.ts";
import { sampleOf } from "../support/sample.ts";
import { openClient } from "../support/site-client.ts";

let opened: FeatureSite;

/** One worker process for all providers, each of which has queues of its own. */
beforeAll(async () => {
  opened = await openFeatureSite();
  opened.site.start("worker", "--module", FEATURE_TOOLS);
});
afterAll(() => opened[Symbol.asyncDispose]());

/** Every feature on every wire; which of the two servers answers is drawn. */
describe.concurrent.each(WIRES)("asked by %s", (wire) => {
  const subjects = Object.keys(FEATURES).flatMap((feature) =>
    sampleOf(`${wire} ${feature}`, KINDS, 1).map((kind) => ({ feature, kind })),
  );
  test.each(subjects)("$feature, of $kind", async ({ feature, kind }) => {
    const provider = featureProvider(kind, wire);
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
