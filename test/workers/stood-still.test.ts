import { join } from "node:path";
import { expect, test } from "vitest";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const STOPPING = join(import.meta.dirname, "../support/stop-after-look.ts");

test("a worker that stood still between its look for a record and its call does not pay for what another has finished", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({}, SHORT_LOCKS);
  await using client = openClient(site);
  const first = site.startWith({ NODE_OPTIONS: `--import ${STOPPING}` }, "worker");
  // After it the worker has what calls need: nothing else holds up the next one.
  await client.complete("what was asked before");
  const job = await client.enqueue("what was asked");
  await waitFor("the worker to stand still", () => first.stdout().includes("stands still"));
  const second = site.start("worker");
  await job.result();
  second.child.kill("SIGKILL");
  await second.exit;
  first.child.kill("SIGCONT");
  // It lives, and is past what it was about to do.
  await client.complete("what is asked later");
  expect(site.paidCalls()).toEqual(
    new Map([
      ["what was asked before", 1],
      ["what was asked", 1],
      ["what is asked later", 1],
    ]),
  );
});
