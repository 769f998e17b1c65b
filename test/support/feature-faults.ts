import { expect } from "vitest";
import {
  APIConnectionError,
  AuthenticationError,
  InvalidRequestError,
  RateLimitError,
} from "../../src/index.ts";
import { DOWN, type Feature, SPARE, SPARE_REPLY } from "./feature-providers.ts";
import { failureOf } from "./provider.ts";
import { script } from "./scripted-aimock.ts";

/** What becomes of calls that fail. Those that make a queue wait have a model, so a queue, of their own. */
export const FAULT_FEATURES: Readonly<Record<string, Feature>> = {
  async "a fallback from it to another model"({ glue, entry }) {
    const model = `${entry}:left`;
    const result = await glue.complete(script("leave", { error: "401" }), { model: [model, SPARE] });
    expect(result).toMatchObject({
      model: SPARE,
      finalResponse: SPARE_REPLY,
      fallbacks: [{ model, code: "authentication" }],
    });
  },

  async "a fallback to it from a model that is down"({ glue, entry }) {
    const model = [DOWN, `${entry}:test`];
    const result = await glue.complete(script("come", { reply: "I am up." }), { model, maxAttempts: 1 });
    expect(result).toMatchObject({
      model: model[1],
      finalResponse: "I am up.",
      fallbacks: [{ model: DOWN, code: "connection" }],
    });
  },

  async "a bad request, which no attempt repeats"({ glue, entry, sent }) {
    const model = `${entry}:error-400`;
    const error = await failureOf(glue.complete(script("fails with 400", { error: "400" }), { model }));
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect(error).toMatchObject({ code: "invalid_request", status: 400, attempts: 1, context: { model } });
    expect(sent("fails with 400")).toHaveLength(1);
  },

  async "a refused key"({ glue, entry, sent }) {
    const model = `${entry}:error-401`;
    const error = await failureOf(glue.complete(script("fails with 401", { error: "401" }), { model }));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({
      status: 401,
      severity: "critical",
      hint: expect.stringMatching(/_API_KEY/),
    });
    expect(sent("fails with 401")).toHaveLength(1);
  },

  async "a rate limit that passes, and one that outlasts the deadline"({ glue, entry, sent }) {
    const passing = script("429 once", { error: "429", errorTimes: 1, reply: "at last" });
    const result = await glue.complete(passing, { model: `${entry}:limited` });
    expect([result.finalResponse, result.attempts, sent("429 once").length]).toEqual(["at last", 1, 2]);
    const lasting = { model: `${entry}:error-429`, deadlineMs: 10_000 };
    const error = await failureOf(glue.complete(script("fails with 429", { error: "429" }), lasting));
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ status: 429, retryable: true });
  },

  async "a fault of the provider, after all attempts"({ glue, entry, sent }) {
    const options = { model: `${entry}:error-500`, maxAttempts: 2 };
    const error = await failureOf(glue.complete(script("fails with 500", { error: "500" }), options));
    expect(error).toBeInstanceOf(APIConnectionError);
    expect(error).toMatchObject({ status: 500, attempts: 2, retryable: true });
    expect(sent("fails with 500")).toHaveLength(2);
  },
};
