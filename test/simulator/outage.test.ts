import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import {
  anthropicRequest,
  openaiRequest,
  post,
  type SimulatedProvider,
  simulatedProvider,
} from "../support/simulated-provider.ts";
import { waitFor } from "../support/wait-for.ts";

const LONG_MS = 600_000;

/** "200", the error's status, or the name of the error's class. */
function ask({ openai }: SimulatedProvider, timeout = 150_000): Promise<number | string> {
  return openai.chat.completions.create(openaiRequest("hello"), { timeout }).then(
    () => 200,
    (error) => error.status ?? error.constructor.name,
  );
}

describe("an outage", () => {
  it("destroys connections, until it is ended", async () => {
    await using provider = await simulatedProvider({ rpm: 1 });
    provider.simulator.setOutage({ forMs: LONG_MS });
    expect([await ask(provider), await ask(provider)]).toEqual(["APIConnectionError", "APIConnectionError"]);
    provider.simulator.setOutage({ forMs: 0 });
    // Nothing was charged: the one request of this minute is still there.
    expect([await ask(provider), await ask(provider)]).toEqual([200, 429]);
    expect(provider.simulator.journal.entries().map(({ fault, status }) => [fault, status])).toEqual([
      ["outage", null],
      ["outage", null],
      [null, 200],
      [null, 429],
    ]);
    expect(provider.simulator.stats()).toMatchObject({ byFault: { outage: 2 }, inFlight: 0, aborted: 0 });
  });

  it("answers 503 in both dialects, whatever the request, without limit headers", async () => {
    await using provider = await simulatedProvider({ rpm: 60 });
    const { url } = provider.simulator;
    expect(await post(`${url}/_simulator/outage`, { forMs: LONG_MS, kind: "503" })).toMatchObject({
      status: 200,
    });
    const openai = await post(`${url}/v1/chat/completions`, openaiRequest("x"));
    expect(openai).toMatchObject({ status: 503, body: { error: { type: "server_error" } } });
    expect(openai.headers.get("x-ratelimit-limit-requests")).toBeNull();
    const anthropic = await post(`${url}/v1/messages`, anthropicRequest("x"));
    expect(anthropic).toMatchObject({ status: 503, body: { error: { type: "api_error" } } });
    expect(await post(`${url}/v1/messages`, "{oops")).toMatchObject({ status: 503 });
    expect(provider.simulator.journal.entries()).toMatchObject([
      { fault: "outage", status: 503, promptTokens: 0 },
      { fault: "outage", status: 503, promptTokens: 0 },
      { fault: "outage", status: 503, promptTokens: 0 },
    ]);
    expect(provider.simulator.stats().accepted.requests).toBe(0);
  });

  it("hangs until the client gives up, even past its end", async () => {
    await using provider = await simulatedProvider();
    provider.simulator.setOutage({ forMs: LONG_MS, kind: "hang" });
    const asked = provider.openai.chat.completions.create(openaiRequest("hello"), { timeout: 500 });
    const refused = expect(asked).rejects.toBeInstanceOf(OpenAI.APIConnectionTimeoutError);
    await waitFor("the call", () => provider.simulator.stats().inFlight === 1);
    provider.simulator.setOutage({ forMs: 0 });
    expect(await ask(provider)).toBe(200);
    await refused;
    await waitFor("its end", () => provider.simulator.stats().inFlight === 0);
    expect(provider.simulator.journal.entries()).toMatchObject([
      { fault: "outage", status: null, aborted: true },
      { fault: null, status: 200 },
    ]);
  });

  it("ends by itself after forMs", async () => {
    await using provider = await simulatedProvider();
    const forMs = 300;
    provider.simulator.setOutage({ forMs, kind: "503" });
    const startedAt = performance.timeOrigin + performance.now();
    await waitFor("an answer", async () => (await ask(provider)) === 200);
    const entries = provider.simulator.journal.entries();
    expect(entries[0]?.fault).toBe("outage");
    expect(entries.at(-1)!.at - startedAt).toBeGreaterThanOrEqual(forMs - 2);
    expect(entries.filter(({ fault }) => fault === null)).toHaveLength(1);
  });

  it("must have a length of 0 or more", async () => {
    await using provider = await simulatedProvider();
    expect(() => provider.simulator.setOutage({ forMs: -1 })).toThrow("outage forMs");
  });
});
