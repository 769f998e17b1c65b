import { describe, expect, it } from "vitest";
import type { SimulatorOptions } from "../../src/simulator/simulator.ts";
import { openaiRequest, post, simulatedProvider } from "../support/simulated-provider.ts";

/** A text of 10 tokens whose answer has 60. */
const TEN_IN_SIXTY_OUT = '#sim {"tokens": 60}'.padEnd(40);

describe("the charge of what is produced", () => {
  const LONG = '#sim {"tokens": 2500}';

  it.each([{ tpm: 6000 }, { otpm: 6000 }])(
    "%j: comes with the answer, and nothing is admitted until it is made good",
    async (limits) => {
      await using provider = await simulatedProvider({ ...limits, charge: "produced", latencyMs: 300 });
      const ask = (text: string) =>
        provider.openai.chat.completions.create(openaiRequest(text)).then(
          () => 200,
          ({ status, message }) => `${status} ${/try again in [\d.]+m?s/i.exec(message)}`,
        );
      // The second comes before the first's answer, whose size nobody knows yet.
      expect(await Promise.all([ask(LONG), ask(LONG)])).toEqual([200, 200]);
      const refusal = await ask("short");
      // 5,000 were taken from 100, and a second makes 100 good.
      expect(refusal).toMatch(/^429 try again in [34]\d/i);
      const taken = provider.simulator.journal.entries().map((entry) => entry.completionTokens);
      expect(taken).toEqual([2500, 2500, 0]);
    },
  );

  it("can be chosen while it runs", async () => {
    await using provider = await simulatedProvider({ otpm: 6000 });
    const { simulator } = provider;
    const reply = await post(`${simulator.url}/_simulator/limits`, { charge: "produced" });
    expect(reply.status).toBe(200);
    await provider.openai.chat.completions.create(openaiRequest(LONG));
    await expect(provider.openai.chat.completions.create(openaiRequest("x"))).rejects.toMatchObject({
      status: 429,
    });
  });
});

describe("the charge", () => {
  it.each<[SimulatorOptions["charge"], object, number]>([
    [undefined, { max_tokens: 500 }, 10 + 60],
    ["requested", { max_tokens: 500 }, 10 + 500],
    ["requested", { max_completion_tokens: 300, n: 2 }, 10 + 600],
    ["requested", {}, 10 + 60],
  ])("%s of %j is %d tokens, whatever the usage", async (charge, parameters, charged) => {
    await using provider = await simulatedProvider({ tpm: 60_000, charge });
    const { response, data } = await provider.openai.chat.completions
      .create({ ...openaiRequest(TEN_IN_SIXTY_OUT), ...parameters })
      .withResponse();
    expect(response.headers.get("x-ratelimit-remaining-tokens")).toBe(String(1000 - charged));
    expect(data.usage?.completion_tokens).toBe("n" in parameters ? 120 : 60);
    const [entry] = provider.simulator.journal.entries();
    expect(entry!.promptTokens + entry!.completionTokens).toBe(charged);
  });
});
