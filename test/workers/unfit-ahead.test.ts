import { expect, test } from "vitest";
import { FEATURE_TOOLS } from "../support/feature-conformance.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteAhead } from "../support/site-ahead.ts";
import { openClient } from "../support/site-client.ts";
import { script } from "../support/talk.ts";
import { waitFor } from "../support/wait-for.ts";

test("a worker that lacks the tool, and whose clock is ahead, does not keep the job from one that has it", async () => {
  await using site = await TestSite.open();
  const ahead = await siteAhead(site, 2000);
  await using glue = openClient(site, { model: MODEL });
  const asked = script(
    "who adds?",
    { toolCalls: [{ name: "add", arguments: { a: 1, b: 2 } }] },
    { reply: "3" },
  );
  ahead.start("worker");
  const handle = await glue.enqueue(asked, { tools: ["add"], deadlineMs: 120_000 });
  await waitFor("it to be put back", async () =>
    (await handle.status()).waitsFor.includes("a worker with the tool add"),
  );
  site.start("worker", "--module", FEATURE_TOOLS);
  expect((await handle.result()).finalResponse).toBe("3");
});
