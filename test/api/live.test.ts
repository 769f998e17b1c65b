import { expect, onTestFinished, test } from "vitest";
import { makeKey, openApi } from "../support/api.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** A stream of `/api/live`, and the names of its events so far. */
async function follow(url: string, headers: Record<string, string>) {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const response = await fetch(`${url}/api/live`, { headers, signal: stop.signal });
  const events: string[] = [];
  const read = async () => {
    let text = "";
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      events.length = 0;
      events.push(...[...text.matchAll(/^event: (\w+)$/gm)].map(([, name = ""]) => name));
    }
  };
  void read().catch(() => {});
  return { status: response.status, events, stop: () => stop.abort() };
}

test("a stream tells that something changed, and nothing while nothing does; there are only so many", async () => {
  const { settings, client, serveModels } = await workflowSite();
  const { url, store } = await openApi(settings);
  await serveModels();
  const { headers } = await makeKey(store, { scopes: ["read"] });
  const { events, stop } = await follow(url, headers);
  await waitFor("its begin", () => events.length > 0);
  expect(events[0]).toBe("hello");
  const changed = () => events.filter((name) => name === "changed").length;
  // Each move of a job is one: that it waits, is at work, has ended.
  for (const n of [0, 1]) {
    const before = changed();
    await client.complete(`question ${n}`, { model: MODEL });
    await waitFor("a change", () => changed() > before);
  }
  expect((await follow(url, (await makeKey(store, { scopes: ["complete"] })).headers)).status).toBe(403);
  stop();
  const many = await Promise.all(Array.from({ length: 50 }, () => follow(url, headers)));
  await waitFor("one too many", async () => {
    const more = await follow(url, headers);
    more.stop();
    return more.status === 429;
  });
  for (const each of many) each.stop();
  await waitFor("a place", async () => (await follow(url, headers)).status === 200);
});
