import { type ErrorResponse, LLMock } from "@copilotkit/aimock";
import type { FaultRule } from "../../src/simulator/faults.ts";
import { startSimulator } from "../../src/simulator/simulator.ts";
import { dialectOf, testEntry, WIRES, type Wire } from "../support/provider.ts";
import { type ConformanceBackend, conformsToAdapterContract } from "../support/provider-conformance.ts";

for (const wire of WIRES) {
  conformsToAdapterContract(`${wire} with aimock`, () => startAimock(wire));
  conformsToAdapterContract(`${wire} with the simulator`, () => startOurs(wire));
}

async function startOurs(wire: Wire): Promise<ConformanceBackend> {
  const kinds = [...Object.keys(ERRORS[dialectOf(wire)]), "drop", "cut"] as FaultRule["fault"][];
  const script: FaultRule[] = kinds.map((fault) => ({
    match: `fault:${fault}.`,
    fault,
    ...(fault === "429" && { retryAfterMs: 2000 }),
  }));
  script.push({ match: "fault:hang", fault: "hang" }, { match: "stream:cut", fault: "cut" });
  const simulator = await startSimulator({ port: 0, faults: { script } });
  return {
    entry: testEntry(wire, simulator.url),
    seen: (text) => simulator.journal.entries().filter((entry) => entry.lastUserText.includes(text)).length,
    close: () => simulator.close(),
  };
}

const NOT_SAID = { message: "A secret prompt" };

/** The same faults in each dialect's words. */
const ERRORS: Record<ReturnType<typeof dialectOf>, Record<string, ErrorResponse>> = {
  openai: {
    "429": refusal(429, { type: "requests", code: "rate_limit_exceeded" }, 2),
    "529": refusal(529, { type: "server_error" }),
    insufficient_quota: refusal(429, { type: "insufficient_quota", code: "insufficient_quota" }),
    "401": refusal(401, { type: "invalid_request_error", code: "invalid_api_key" }),
    "403": refusal(403, { type: "invalid_request_error" }),
    "404": refusal(404, { type: "invalid_request_error", code: "model_not_found" }),
    "400": refusal(400, { type: "invalid_request_error", code: "invalid_value" }),
    context_length_exceeded: refusal(400, {
      type: "invalid_request_error",
      code: "context_length_exceeded",
    }),
    "500": refusal(500, { type: "server_error" }),
    "503": refusal(503, { type: "server_error" }),
  },
  anthropic: {
    "429": refusal(429, { type: "rate_limit_error" }, 2),
    "529": refusal(529, { type: "overloaded_error" }),
    insufficient_quota: refusal(403, { type: "billing_error" }),
    "401": refusal(401, { type: "authentication_error" }),
    "403": refusal(403, { type: "permission_error" }),
    "404": refusal(404, { type: "not_found_error" }),
    "400": refusal(400, { type: "invalid_request_error" }),
    context_length_exceeded: refusal(400, {
      type: "invalid_request_error",
      message: "prompt is too long: 200001 tokens > 200000 maximum",
    }),
    "500": refusal(500, { type: "api_error" }),
    "503": refusal(503, { type: "api_error" }),
  },
};

function refusal(
  status: number,
  error: { type: string; code?: string; message?: string },
  retryAfter?: number,
): ErrorResponse {
  return { status, error: { ...NOT_SAID, ...error }, ...(retryAfter && { retryAfter }) };
}

async function startAimock(wire: Wire): Promise<ConformanceBackend> {
  const dialect = dialectOf(wire);
  const mock = new LLMock({ port: 0 });
  for (const [kind, response] of Object.entries(ERRORS[dialect])) {
    mock.onMessage(`fault:${kind}.`, response);
  }
  const fine = { content: "All is well.", usage: usageOf(dialect) };
  mock.onMessage("fault:drop.", fine, { chaos: { disconnectRate: 1 } });
  mock.onMessage("fault:cut.", fine, { chaos: { malformedRate: 1 } });
  mock.onMessage(
    "stream:cut",
    { content: "All is well, or so it seems." },
    { chunkSize: 5, truncateAfterChunks: 3 },
  );
  // The journal takes a request when it is answered; these never are, until the end.
  const hanging: string[] = [];
  const { promise: end, resolve: release } = Promise.withResolvers<typeof fine>();
  mock.onMessage("fault:hang", (request) => {
    hanging.push(JSON.stringify(request));
    return end;
  });
  mock.on(
    { userMessage: "tool:weather", hasToolResult: false },
    {
      toolCalls: [{ name: "get_weather", arguments: '{"city":"Paris"}' }],
      usage: usageOf(dialect),
    },
  );
  mock.on({ userMessage: /./ }, fine, { chunkSize: 4 });
  await mock.start();
  return {
    entry: testEntry(wire, mock.url),
    seen: (text) => {
      const answered = mock.getRequests().map(({ body }) => JSON.stringify(body));
      return [...answered, ...hanging].filter((body) => body.includes(text)).length;
    },
    close: () => {
      release(fine);
      return mock.stop();
    },
  };
}

function usageOf(dialect: ReturnType<typeof dialectOf>) {
  return dialect === "openai"
    ? { prompt_tokens: 21, completion_tokens: 4, total_tokens: 25 }
    : { input_tokens: 21, output_tokens: 4 };
}
