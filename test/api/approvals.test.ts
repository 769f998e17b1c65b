import { expect, test } from "vitest";
import { z } from "zod";
import { defineTool } from "../../src/index.ts";
import { restClient } from "../support/rest-client.ts";
import { serveApi } from "../support/served-api.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";
import { LOOPBACK, unwrap } from "../support/webhooks.ts";
import { wireServer } from "../support/wire-server.ts";

const refund = defineTool({
  name: "refund",
  description: "Pays money back.",
  parameters: z.object({ usd: z.number() }),
  needsApproval: true,
  execute: ({ usd }) => `refunded ${usd}`,
});
const asking = (...usd: number[]) => {
  const toolCalls = usd.map((one) => ({ name: "refund", arguments: { usd: one } }));
  return `#sim ${JSON.stringify({ turns: [{ toolCalls }, { reply: "done" }] })}`;
};

test("approvals are told by webhook, and answered by the API and on the command line; a key brings its guardrails", {
  tags: "long",
}, async () => {
  const { site, baseURL, apiKey } = await serveApi({}, LOOPBACK, false);
  await using _site = site;
  const url = baseURL.replace(/\/v1$/, "");
  const owner = restClient(url, { authorization: `Bearer ${apiKey}` });
  const receiver = await wireServer((response) => response.writeHead(204).end());
  const hook = await owner("POST", "/api/webhooks", {
    url: `${receiver.url}/hook`,
    events: ["job.suspended"],
  });
  expect(hook.status).toBe(201);
  const glue = siteClient(site, { mode: "local", tools: [refund] });
  const handle = await glue.enqueue(`Money back.\n${asking(50, 60)}`);
  const told = await waitFor("the webhook", () => receiver.requests[0]);
  const event = await unwrap(told, hook.body.secret);
  expect(event).toMatchObject({ type: "job.suspended", data: { id: handle.id, state: "suspended" } });
  const { approvals } = event.data as { approvals: { callId: string; toolName: string }[] };
  expect(approvals.map(({ toolName }) => toolName)).toEqual(["refund", "refund"]);

  const path = `/api/jobs/${handle.id}`;
  expect((await owner("GET", path)).body).toMatchObject({ state: "suspended" });
  const { data } = (await owner("GET", "/api/approvals")).body;
  expect(data).toMatchObject([
    { jobId: handle.id, toolName: "refund", arguments: { usd: 50 } },
    { jobId: handle.id, toolName: "refund", arguments: { usd: 60 } },
  ]);
  const [first, second] = data;
  expect((await owner("POST", `${path}/approve`, { callId: "call_none" })).body.error.code).toBe(
    "approval_unknown",
  );
  expect((await owner("POST", `${path}/approve`, { callId: first.callId, by: "ada" })).status).toBe(200);
  const listed = await site.run("approvals", "list");
  expect(listed.stdout).toContain(second.callId);
  const rejected = await site.run("approvals", "reject", handle.id, second.callId, "--reason", "twice");
  expect(rejected.stdout).toBe(`rejected ${second.callId} of ${handle.id}\n`);
  expect((await handle.result()).toolExecutionHistory).toMatchObject([
    { result: "refunded 50", approval: { approved: true, by: "ada" } },
    { error: { message: "a person did not allow this call: twice" } },
  ]);
  expect((await site.run("approvals", "list")).stdout).toBe("nothing waits for a person\n");

  const made = await site.run("keys", "create", "--guardrail", "pii", "--json");
  const key = restClient(url, { authorization: `Bearer ${JSON.parse(made.stdout).key}` });
  const chat = {
    model: "simulator:test",
    messages: [{ role: "user", content: "write to ada@example.org" }],
  };
  expect((await key("POST", "/v1/chat/completions", chat)).status).toBe(200);
  expect(site.simulator.journal.entries().at(-1)?.lastUserText).toBe("write to [EMAIL]");
});
