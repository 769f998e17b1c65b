import { expect, test } from "vitest";
import { completesLeast } from "../../src/workers/least-call.ts";
import { wholeAnswer } from "../support/odd-answers.ts";
import { callOf, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

test("the least call has the headers of the request before it, but not its idempotency key", async () => {
  const server = await wireServer((response) => sendJson(response, wholeAnswer("openai")));
  const adapter = testAdapter(testEntry("openai", server.url));
  const headers = { "Idempotency-Key": "of the request", "x-team": "blue" };
  const call = callOf("openai", "What is it?", { wire: { headers } });
  expect(await completesLeast(adapter, call)).toBe(true);
  const [{ headers: sent = {}, body = "" } = {}] = server.requests;
  expect(sent).toMatchObject({ "x-team": "blue", "x-client-request-id": `${call.requestId}-least` });
  expect(sent).not.toHaveProperty("idempotency-key");
  expect(body).not.toContain("What is it?");
});
