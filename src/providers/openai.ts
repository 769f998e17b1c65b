import type { OpenAI } from "openai";
import type { ChatRequest } from "../shared/chat.ts";
import { InvalidRequestError } from "../shared/errors.ts";
import { toDouble } from "../shared/exact-json.ts";
import { fieldsOf } from "../shared/json.ts";
import { apiOf, type OpenAIApi, type ProviderEntry } from "../shared/providers.ts";
import { estimatePromptTokens, OutputAverage } from "../shared/token-estimate.ts";
import { providerOptionsFor } from "../shared/wire-options.ts";
import { outputLimitOf } from "./answer-length.ts";
import type { ReadStream } from "./body.ts";
import { type HttpReply, postOnce } from "./call.ts";
import { faultInBody } from "./fault.ts";
import { FLEX, isFlexAnswer } from "./flex.ts";
import { createHttpPool, type HttpPool } from "./http-pool.ts";
import { type ModelTraits, sendAsTaken, traitsOf } from "./model-traits.ts";
import { readChatAnswer } from "./openai-answer.ts";
import { asksForEmbeddings, toEmbeddingsReply, toEmbeddingsRequest } from "./openai-embeddings.ts";
import { type ChatCall, toChatBody } from "./openai-request.ts";
import { readChatStream } from "./openai-stream.ts";
import type { AdapterOptions, ProviderAdapter, ProviderCall, ProviderReply } from "./provider.ts";
import { toLLMError } from "./provider-errors.ts";
import { readResponseAnswer } from "./responses-answer.ts";
import { toResponsesBody } from "./responses-request.ts";
import { readResponseStream } from "./responses-stream.ts";

/** A way to ask for an answer, and to read it. */
interface Api {
  path: string;
  toBody(call: ChatCall, traits: ModelTraits): Record<string, unknown>;
  readStream: ReadStream;
  readAnswer: typeof readChatAnswer;
}

const APIS: Record<OpenAIApi, Api> = {
  chat: {
    path: "/chat/completions",
    toBody: toChatBody,
    readStream: readChatStream,
    readAnswer: readChatAnswer,
  },
  responses: {
    path: "/responses",
    toBody: toResponsesBody,
    readStream: readResponseStream,
    // Some servers answer on every path as Chat Completions does.
    readAnswer: (answered) =>
      Array.isArray(fieldsOf(answered.answer.data).choices)
        ? readChatAnswer(answered)
        : readResponseAnswer(answered),
  },
};

/**
 * Returns the adapter of Chat Completions, Responses and Embeddings, at OpenAI and everybody who speaks its dialect.
 */
export function createOpenAIAdapter(entry: ProviderEntry, options: AdapterOptions): ProviderAdapter {
  const pool = createHttpPool(entry, options);
  const posting = { ...options, route: pool.route };
  const output = new OutputAverage();
  const known = new Map<string, ModelTraits>();
  let opened: Promise<OpenAI> | undefined;
  const openClient = () => (opened ??= createClient(entry, pool));
  async function post(
    path: string,
    body: object,
    call: ProviderCall,
    readStream: ReadStream,
  ): Promise<HttpReply> {
    const client = await openClient();
    const answer = await postOnce(entry, call, posting, readStream, (init) =>
      client.post<unknown>(path, { body, ...(init as object) }),
    );
    const fault = faultInBody(answer.data, answer.headers, answer.requestId);
    if (fault) throw toLLMError(fault, entry, call.model);
    return answer;
  }
  async function embeddings({ onDelta: _, ...call }: ProviderCall): Promise<ProviderReply> {
    const answer = await post("/embeddings", toEmbeddingsRequest(call), call, readChatStream);
    const reply = toEmbeddingsReply(entry, call, answer);
    return { ...reply, charged: { input: reply.tokens.prompt, output: 0 } };
  }
  async function ask(call: ProviderCall, { path, toBody, readStream }: Api): Promise<HttpReply> {
    const { model, request, onDelta, wire, isFlex } = call;
    const providerOptions = providerOptionsFor(entry, wire);
    const asked = { entry, model, request, providerOptions, isStreamed: onDelta !== undefined };
    const { answer, traits } = await sendAsTaken({
      entry,
      traits: known.get(model) ?? traitsOf(entry, model),
      write: (traits) => ({
        ...toBody(asked, traits),
        ...(isFlex && !traits.refusesFlex && { service_tier: FLEX }),
      }),
      send: (body) => post(path, body, call, readStream),
    });
    known.set(model, traits);
    return answer;
  }
  return {
    async complete(call) {
      if (asksForEmbeddings(call.request)) return embeddings(call);
      if (call.onDelta && (toDouble(call.request.n) ?? 1) > 1) throw severalChoices();
      const api = APIS[call.request.responses ? "responses" : apiOf(entry, call.model)];
      const reply = api.readAnswer({ entry, call, answer: await ask(call, api) });
      const { prompt, completion } = reply.tokens;
      output.observe(call.model, completion / reply.body.choices.length);
      const counted = entry.tokenCharge === "requested" ? requestedOutput(call.request) : undefined;
      const isFlex = isFlexAnswer(entry, reply.body);
      return {
        ...reply,
        ...(isFlex && { isFlex }),
        charged: { input: prompt, output: counted ?? completion },
      };
    },
    estimateTokens: (model, request) => {
      if (asksForEmbeddings(request)) return { input: estimatePromptTokens(request), output: 0 };
      const requested = requestedOutput(request);
      const usual = output.of(model) * (toDouble(request.n) ?? 1);
      const isCounted = entry.tokenCharge === "requested" && requested !== undefined;
      return {
        input: estimatePromptTokens(request),
        output: isCounted ? requested : Math.min(requested ?? usual, usual),
      };
    },
    connections: () => pool.use(),
    close: () => pool.close(),
  };
}

/** Returns the client of the SDK, which is loaded with the first call: a process without calls starts sooner. */
async function createClient({ baseUrl }: ProviderEntry, { apiKey, fetch }: HttpPool): Promise<OpenAI> {
  const { OpenAI } = await import("openai");
  return new OpenAI({
    baseURL: baseUrl,
    apiKey,
    fetch,
    maxRetries: 0,
    logLevel: "off",
    // Left out, each of these would come from an OPENAI_* variable.
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
  });
}

function severalChoices(): InvalidRequestError {
  return new InvalidRequestError({
    code: "unsupported_parameter",
    message: "a streamed answer has one choice: n must be 1",
    hint: "leave out n, or ask without streaming",
  });
}

/** Returns the tokens that the request allows its answers, where it sets a limit. */
function requestedOutput(request: ChatRequest): number | undefined {
  const limit = outputLimitOf(request);
  return limit === undefined ? undefined : limit * (toDouble(request.n) ?? 1);
}
