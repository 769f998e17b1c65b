import type { Anthropic } from "@anthropic-ai/sdk";
import type { ProviderEntry } from "../shared/providers.ts";
import { estimatePromptTokens, OutputAverage } from "../shared/token-estimate.ts";
import { providerOptionsFor } from "../shared/wire-options.ts";
import { readMessageAnswer } from "./anthropic-answer.ts";
import { apiVersionFor, outputLimit, toMessagesRequest } from "./anthropic-request.ts";
import { readMessageStream } from "./anthropic-stream.ts";
import { type HttpReply, type PostOptions, postOnce } from "./call.ts";
import { faultInBody } from "./fault.ts";
import { createHttpPool, type HttpPool } from "./http-pool.ts";
import { sendAsTaken } from "./model-traits.ts";
import type { AdapterOptions, ProviderAdapter, ProviderCall } from "./provider.ts";
import { toLLMError } from "./provider-errors.ts";

const BETAS = "anthropic-beta";

/** Returns the adapter of Anthropic's Messages, asked and answered in Chat Completions' words. */
export function createAnthropicAdapter(entry: ProviderEntry, options: AdapterOptions): ProviderAdapter {
  const pool = createHttpPool(entry, options);
  const posting = { ...options, route: pool.route };
  const output = new OutputAverage();
  let opened: Promise<Anthropic> | undefined;
  const openClient = () => (opened ??= createClient(entry, pool));
  async function ask(call: ProviderCall, body: object, betas: unknown): Promise<HttpReply> {
    const client = await openClient();
    // Not messages.create(): that writes a warning to the console at every call to an ageing model.
    const answer = await postOnce(
      entry,
      call,
      posting,
      (events, onDelta) => readMessageStream(events, onDelta, call.request.anthropic !== undefined),
      ({ headers, fetchOptions, ...init }) =>
        client.post<unknown>("/v1/messages", {
          body: { ...body, ...(call.onDelta && { stream: true }) },
          headers: { ...headers, "anthropic-version": apiVersionFor(call.request) },
          fetchOptions: withBetas(entry, fetchOptions, betas) as object,
          ...init,
        }),
    );
    const fault = faultInBody(answer.data, answer.headers, answer.requestId);
    if (fault) throw toLLMError(fault, entry, call.model);
    return answer;
  }
  async function askAsTaken(call: ProviderCall): Promise<HttpReply> {
    const { model, request, wire } = call;
    const providerOptions = providerOptionsFor(entry, wire);
    const { answer } = await sendAsTaken({
      entry,
      traits: {},
      write: (traits) => toMessagesRequest({ entry, model, request, providerOptions }, traits),
      send: (body) => ask(call, body, providerOptions?.betas),
    });
    return answer;
  }
  return {
    async complete(call) {
      const reply = readMessageAnswer({ entry, call, answer: await askAsTaken(call) });
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
    connections: () => pool.use(),
    close: () => pool.close(),
  };
}

/** Adds the betas of a call to those that its headers, or else the entry's, name. */
function withBetas(
  { headers: ofEntry = {} }: ProviderEntry,
  options: PostOptions["fetchOptions"],
  betas: unknown,
): PostOptions["fetchOptions"] {
  if (!Array.isArray(betas) || betas.length === 0) return options;
  const { callHeaders } = options;
  const name = Object.keys(callHeaders).find((key) => key.toLowerCase() === BETAS) ?? BETAS;
  const named = callHeaders[name] ?? ofEntry[BETAS]?.reveal();
  return { ...options, callHeaders: { ...callHeaders, [name]: [named, ...betas].filter(Boolean).join(",") } };
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
