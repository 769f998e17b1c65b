import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import type { Faults } from "../../src/simulator/faults.ts";
import { startSimulator } from "../../src/simulator/simulator.ts";
import {
  anthropicRequest,
  collect,
  openaiRequest,
  type SimulatedProvider,
  simulatedProvider,
} from "../support/simulated-provider.ts";

type ErrorClass = new (...args: never[]) => Error;

function askOpenAI({ openai }: SimulatedProvider, text = "hello") {
  return openai.chat.completions.create(openaiRequest(text));
}

function askAnthropic({ anthropic }: SimulatedProvider, text = "hello") {
  return anthropic.messages.create(anthropicRequest(text));
}

/** "200", or the fault that each of 200 different requests got, in the requests' order. */
async function outcomes(faults: Faults, seed: number, concurrency: number): Promise<(string | number)[]> {
  await using provider = await simulatedProvider({ faults, seed });
  const results: (string | number)[] = [];
  let next = 0;
  const loop = async () => {
    for (let n = next++; n < 200; n = next++) {
      results[n] = await askOpenAI(provider, `question ${n}`).then(
        () => 200,
        (error) => error.status ?? error.constructor.name,
      );
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  return results;
}

describe("an injected fault", () => {
  it.each<[string, ErrorClass, object]>([
    ["400", OpenAI.BadRequestError, { status: 400, type: "invalid_request_error" }],
    ["401", OpenAI.AuthenticationError, { status: 401, code: "invalid_api_key" }],
    ["403", OpenAI.PermissionDeniedError, { status: 403 }],
    ["404", OpenAI.NotFoundError, { status: 404, code: "model_not_found" }],
    ["429", OpenAI.RateLimitError, { status: 429, code: "rate_limit_exceeded" }],
    ["500", OpenAI.InternalServerError, { status: 500, type: "server_error" }],
    ["503", OpenAI.InternalServerError, { status: 503 }],
    ["529", OpenAI.InternalServerError, { status: 529 }],
    ["insufficient_quota", OpenAI.RateLimitError, { status: 429, code: "insufficient_quota" }],
    ["context_length_exceeded", OpenAI.BadRequestError, { status: 400, code: "context_length_exceeded" }],
    ["drop", OpenAI.APIConnectionError, { status: undefined }],
  ])("%s reaches OpenAI's SDK as the right error", async (fault, errorClass, fields) => {
    await using provider = await simulatedProvider({ faults: { [fault]: 1 } });
    const error = await askOpenAI(provider).catch((reason) => reason);
    expect(error).toBeInstanceOf(errorClass);
    expect(error).toMatchObject(fields);
    if (error.status) expect(error.message).toContain("[simulated] ");
    expect(provider.simulator.stats().byFault).toEqual({ [fault]: 1 });
  });

  it.each<[string, ErrorClass, object]>([
    ["400", Anthropic.BadRequestError, { status: 400, type: "invalid_request_error" }],
    ["401", Anthropic.AuthenticationError, { status: 401, type: "authentication_error" }],
    ["403", Anthropic.PermissionDeniedError, { status: 403, type: "permission_error" }],
    ["404", Anthropic.NotFoundError, { status: 404, type: "not_found_error" }],
    ["429", Anthropic.RateLimitError, { status: 429, type: "rate_limit_error" }],
    ["500", Anthropic.InternalServerError, { status: 500, type: "api_error" }],
    ["503", Anthropic.APIError, { status: 503, type: "api_error" }],
    ["529", Anthropic.APIError, { status: 529, type: "overloaded_error" }],
    ["insufficient_quota", Anthropic.BadRequestError, { status: 400 }],
    ["context_length_exceeded", Anthropic.BadRequestError, { status: 400 }],
    ["drop", Anthropic.APIConnectionError, { status: undefined }],
  ])("%s reaches Anthropic's SDK as the right error", async (fault, errorClass, fields) => {
    await using provider = await simulatedProvider({ faults: { [fault]: 1 } });
    const error = await askAnthropic(provider).catch((reason) => reason);
    expect(error).toBeInstanceOf(errorClass);
    expect(error).toMatchObject(fields);
    if (error.status) expect(error.requestID).toMatch(/^req_simulator_/);
  });

  it("429 says when to come back", async () => {
    await using provider = await simulatedProvider({ faults: { "429": 1, retryAfterMs: 1300 } });
    const error = await askOpenAI(provider).catch((reason) => reason);
    expect(error.headers.get("retry-after-ms")).toBe("1300");
    expect(error.headers.get("retry-after")).toBe("2");
  });

  it("hang gives no answer, and the client that leaves is journaled as aborted", async () => {
    await using provider = await simulatedProvider({ faults: { hang: 1 } });
    const request = provider.openai.chat.completions.create(openaiRequest("x"), { timeout: 100 });
    await expect(request).rejects.toBeInstanceOf(OpenAI.APIConnectionTimeoutError);
    await expect
      .poll(() => provider.simulator.journal.entries()[0])
      .toMatchObject({ status: null, fault: "hang", aborted: true, finishedAt: expect.any(Number) });
    expect(provider.simulator.stats()).toMatchObject({ inFlight: 0, byStatus: { none: 1 }, aborted: 1 });
  });

  it("hang ends after hangMs, by the provider's doing", async () => {
    await using provider = await simulatedProvider({ faults: { hang: 1, hangMs: 50 } });
    await expect(askOpenAI(provider)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    await expect
      .poll(() => provider.simulator.journal.entries()[0])
      .toMatchObject({ status: null, aborted: false, finishedAt: expect.any(Number) });
  });

  it("slow answers after its latency", async () => {
    await using provider = await simulatedProvider({ faults: { slow: 1, latencyMs: 150 } });
    const started = performance.now();
    await askOpenAI(provider);
    expect(performance.now() - started).toBeGreaterThanOrEqual(148);
  });

  it("cut ends a stream cleanly without a finish reason, and a body in the middle of its JSON", async () => {
    await using provider = await simulatedProvider({ faults: { cut: 1 } });
    const chunks = await collect(
      await provider.openai.chat.completions.create({ ...openaiRequest("x"), stream: true }),
    );
    expect(chunks.length).toBeGreaterThan(10);
    expect(chunks.some(({ choices }) => choices[0]?.finish_reason)).toBe(false);
    const events = await collect(
      await provider.anthropic.messages.create({ ...anthropicRequest("x"), stream: true }),
    );
    expect(events.at(-1)?.type).toBe("content_block_delta");
    await expect(askOpenAI(provider)).rejects.toThrow(SyntaxError);
  });

  it("stream_error breaks a stream off with an error event, and is a 529 without a stream", async () => {
    await using provider = await simulatedProvider({ faults: { stream_error: 1 } });
    const seen: unknown[] = [];
    const read = async (stream: AsyncIterable<unknown>) => {
      for await (const event of stream) seen.push(event);
    };
    await expect(
      read(await provider.openai.chat.completions.create({ ...openaiRequest("x"), stream: true })),
    ).rejects.toMatchObject({ status: undefined, type: "server_error" });
    await expect(
      read(await provider.anthropic.messages.create({ ...anthropicRequest("x"), stream: true })),
    ).rejects.toMatchObject({ status: undefined, type: "overloaded_error" });
    expect(seen.length).toBeGreaterThan(10);
    await expect(askOpenAI(provider)).rejects.toMatchObject({ status: 529 });
  });
});

describe("seeded faults", () => {
  const faults: Faults = { "429": 0.1, "500": 0.2, "529": 0.05, drop: 0.05 };

  it("repeat whatever the concurrency, and differ by seed", async () => {
    const run = await outcomes(faults, 7, 1);
    expect(await outcomes(faults, 7, 32)).toEqual(run);
    expect(await outcomes(faults, 8, 32)).not.toEqual(run);
    const share = (outcome: string | number) => run.filter((each) => each === outcome).length / run.length;
    expect(share(200)).toBeGreaterThan(0.45);
    expect(share(200)).toBeLessThan(0.75);
    expect(share(500)).toBeGreaterThan(0.1);
  });

  it("are drawn again for each attempt at the same request", async () => {
    await using provider = await simulatedProvider({ faults: { "500": 0.5 } });
    const attempts: number[] = [];
    for (let n = 0; n < 40; n++) {
      attempts.push(
        await askOpenAI(provider).then(
          () => 200,
          (error) => error.status,
        ),
      );
    }
    expect(new Set(attempts)).toEqual(new Set([200, 500]));
  });

  it("can be aimed at rows by a script", async () => {
    await using provider = await simulatedProvider({
      faults: JSON.stringify({
        script: [
          { match: "row 2", times: 2, fault: "503" },
          { match: "row 2", times: 1, fault: "401" },
        ],
      }),
    });
    const ask = (text: string) =>
      askOpenAI(provider, text).then(
        () => 200,
        (error) => error.status,
      );
    expect(await ask("row 1")).toBe(200);
    expect([await ask("row 2"), await ask("row 2"), await ask("row 2"), await ask("row 2")]).toEqual([
      503, 503, 401, 200,
    ]);
    provider.simulator.setFaults({});
    expect(await ask("row 2")).toBe(200);
  });

  it("charge the limits only when the call reached the model", async () => {
    await using provider = await simulatedProvider({
      rpm: 1,
      faults: { script: [{ match: "", times: 1, fault: "401" }] },
    });
    const ask = () =>
      askOpenAI(provider).then(
        () => 200,
        (error) => error.status,
      );
    expect([await ask(), await ask(), await ask()]).toEqual([401, 200, 429]);
  });
});

describe("faults that cannot be used", () => {
  it.each<[unknown, string]>([
    ['{"429": 0.1', "faults: not valid JSON"],
    [{ "599": 0.1 }, 'faults: Unrecognized key: "599"'],
    [{ "500": 2 }, "faults at 500:"],
    [{ "500": 0.6, drop: 0.6 }, "faults: the shares add up to more than 1"],
    [{ script: [{ match: "x", fault: "boom" }] }, "faults at script.0.fault:"],
    ["[]", "faults: "],
  ])("%j gives one clear error", async (faults, message) => {
    await expect(startSimulator({ faults: faults as Faults })).rejects.toThrow(message);
  });
});
