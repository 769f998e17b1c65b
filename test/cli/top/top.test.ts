import { expect, test } from "vitest";
import { readQueueStates } from "../../../src/producers/queue-states.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { MAIN } from "../../support/cli.ts";
import { testStore } from "../../support/redis.ts";
import { MODEL, TestSite } from "../../support/site.ts";
import { siteClient } from "../../support/site-client.ts";
import { Terminal } from "../../support/terminal.ts";
import { waitFor } from "../../support/wait-for.ts";

test("a person watches a fleet, pauses a queue and goes on; programs read it", async () => {
  await using site = await TestSite.open();
  const store = testStore(site.namespace);
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const asker = siteClient(site);
  await asker.enqueue("one");
  const isPaused = async () => (await readQueueStates(store, settings))[0]?.pausedByOperator;

  const size = { columns: 100, rows: 24, cwd: site.folder };
  const terminal = await Terminal.start([MAIN, "top"], { ...size, env: { ...site.env, NO_COLOR: "1" } });
  const shows = (text: string | RegExp) =>
    waitFor(String(text), async () => {
      const drawn = (await terminal.lines()).join("\n");
      return typeof text === "string" ? drawn.includes(text) : text.test(drawn);
    });
  await shows(/▸ simulator:test +1 +0/);
  await shows("no workers: jobs wait");
  terminal.type("p");
  await shows("pause simulator:test? y: yes");
  terminal.type("n");
  await shows("q quit");
  expect(await isPaused()).toBe(false);
  terminal.type("py");
  await shows("waits for an operator's resume");
  expect(await isPaused()).toBe(true);
  terminal.type("p");
  await shows("resume simulator:test?");
  terminal.type("y");
  await waitFor("the resume", async () => !(await isPaused()));
  await asker.enqueue("two");
  await shows(/▸ simulator:test +2/);
  terminal.type("q");
  expect(await terminal.run.exit).toBe(0);
  // Without colours nothing is painted, and the screen that stood there comes back.
  expect(terminal.raw).not.toContain("\u001b[3");
  expect(terminal.raw).toContain("\u001b[?1049l");

  const { stdout } = await site.run("top", "--json");
  expect(JSON.parse(stdout)).toMatchObject({ queues: [{ key: MODEL, counts: { waiting: 2 } }], workers: [] });
});
