import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { createTestEnvironment } from "gluellm/testing";
import { answerTicket } from "../src/support.ts";

test("a ticket is answered with what the order's status is", async () => {
  // The model's answers, in their order: no provider is called, and no key is needed.
  const env = await createTestEnvironment({
    workflows: [answerTicket],
    models: [
      { toolCalls: [{ name: "order_status", arguments: { orderId: "1001" } }] },
      "Your order was shipped on Monday.",
      "Yes.",
    ],
  });
  try {
    const output = await env.run(answerTicket, "Where is my order 1001?");
    deepEqual(output, { answer: "Your order was shipped on Monday.", isPolite: true });
    deepEqual(env.requests[1]?.toolResults, ["shipped on Monday"]);
    equal(env.requests.length, 3);
  } finally {
    await env.close();
  }
});
