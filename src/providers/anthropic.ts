import type { Anthropic } from "@anthropic-ai/sdk";
import type { ProviderEntry } from "../shared/providers.ts";
import { readMessageAnswer } from "./anthropic-answer.ts";
import { apiVersionFor, outputLimit, toMessagesRequest } from "./anthropic-request.ts";
import { readMessageStream } from "./anthropic-stream.ts";
import { postOnce } from "./call.ts";
import { faultInBody } from "./fault.ts";
import { createHttpPool, type HttpPool } from "./http-pool.ts";
import type { AdapterOptions, ProviderAdapter } from "./provider.ts";
import { toLLMError } from "./provider-errors.ts";
import { estimatePromptTokens, OutputAverage } from "./token-estimate.ts";

/** Returns the adapter of Anthropic's Messages, asked and answered in Chat Completions' words. */
export function createAnthropicAdapter(entry: ProviderEntry, options: AdapterOptions): ProviderAdapter {
  const pool = createHttpPool(entry, options.connections);
  const output = new OutputAverage();
  let opened: Promise<Anthropic> | undefined;
  const openClient = () => (opened ??= createClient(entry, pool));
  return {
    async complete(call) {
      const body = { ...toMessagesRequest(call.model, call.request), ...(call.onDelta && { stream: true }) };
      const client = await openClient();
      // Not messages.create(): that writes a warning to the console at every call to an ageing model.
      const answer = await postOnce(entry, call, options, readMessageStream, ({ headers, ...init }) =>
        client.post<unknown>("/v1/messages", {
          body,
          headers: { ...headers, "anthropic-version": apiVersionFor(call.request) },
          ...init,
        }),
      );
      const fault = faultInBody(answer.data, answer.headers, answer.requestId);
      if (fault) throw toLLMError(fault, entry, call.model);
      const reply = readMessageAnswer({ entry, call, answer });
      const { prompt, completion, cached } = reply.tokens;
      output.observe(call.model, completion);
      // Prompt tokens that were read from the cache do not count against the limits.
      return { ...reply, charged: { input: prompt - cached, output: completion } };
    },
    estimateTokens: (model, request) => ({
      input: estimatePromptTokens(request),
      // Only the output there is counts, so a generous limit does not reserve what is seldom used.
      output: Math.min(outputLimit(request), output.of(model)),
    }),
    close: () => pool.close(),
  };
}

/** Returns the client of the SDK, which is loaded with the first call: a process without calls starts sooner. */
async function createClient({ baseUrl }: ProviderEntry, { apiKey, fetch }: HttpPool): Promise<Anthropic> {
  const { Anthropic } = await import("@anthropic-ai/sdk");
  return new Anthropic({
    baseURL: baseUrl,
    apiKey,
    fetch,
    maxRetries: 0,
    logLevel: "off",
    openTelemetry: false,
    // Left out, each of these would come from an ANTHROPIC_* variable.
    authToken: null,
    webhookKey: null,
  });
}
