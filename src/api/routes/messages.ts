import { z } from "zod";
import { messageBody } from "../../batch/answer-forms.ts";
import type { ChatRequest } from "../../shared/chat.ts";
import { estimatePromptTokens } from "../../shared/token-estimate.ts";
import { ApiError } from "../api-error.ts";
import { askJob } from "../asked-job.ts";
import { EventStream } from "../event-stream.ts";
import { type Fields, toMessageRequest, translatedMessages } from "../messages/message-request.ts";
import { MessageEvents } from "../messages/message-stream.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

/** Fields that are unknown here go to a provider of Anthropic's dialect, or are refused where another API has no word for them. */
const askedSchema = z
  .looseObject({
    model: z.string().optional(),
    messages: z
      .array(z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(z.looseObject({}))]) }))
      .min(1),
    system: z.union([z.string(), z.array(z.looseObject({}))]).nullish(),
  })
  .meta({ id: "CountMessageTokens" });
const bodySchema = askedSchema
  .extend({
    max_tokens: z.unknown().refine((value) => value != null, "must be given"),
    stream: z.boolean().nullish(),
  })
  .meta({ id: "CreateMessage" });
type Body = z.infer<typeof bodySchema>;

/** Headers that say in which words the body is. */
const VERSION_HEADERS = ["anthropic-version", "anthropic-beta"];

export const messageRoutes: RouteGroup = {
  name: "messages",
  basePath: "/v1",
  dialect: "anthropic",
  routes: [
    defineRoute({
      method: "post",
      path: "/messages",
      summary: "Answers messages in Anthropic's words, whole or streamed; for models of any provider.",
      scope: "complete",
      body: bodySchema,
      isExact: true,
      answer: z.looseObject({ id: z.string(), type: z.literal("message") }).meta({ id: "Message" }),
      handle: create,
    }),
    defineRoute({
      method: "post",
      path: "/messages/count_tokens",
      isRead: true,
      summary: "Estimates the tokens of a message by its length; no provider is asked.",
      scope: "complete",
      body: askedSchema,
      answer: z.object({ input_tokens: z.int() }),
      handle: async ({ body, response }) => {
        const { model: _, ...asked } = body;
        response.set("x-gluellm-estimated", "true");
        return { input_tokens: estimatePromptTokens(chatOf(asked)) };
      },
    }),
  ],
};

/** What no chat request can say counts by its length. */
function chatOf(body: Fields): ChatRequest {
  try {
    return translatedMessages(body) as ChatRequest;
  } catch (error) {
    if (error instanceof ApiError) return { messages: [], anthropic: body };
    throw error;
  }
}

async function create(call: Call<unknown, unknown, Body>): Promise<unknown> {
  const { body, context, request } = call;
  const said = VERSION_HEADERS.flatMap((name) => {
    const value = request.headers[name];
    return typeof value === "string" && value !== "" ? [[name, value]] : [];
  });
  const { messages, options, isVerbatim } = toMessageRequest(
    body,
    context.settings,
    Object.fromEntries(said) as Record<string, string>,
  );
  const stream = body.stream ?? false;
  await using job = await askJob(call, messages, { ...options, stream }, "messages");
  const id = `msg_${job.handle.id.slice("job-".length)}`;
  if (!stream) {
    const { rawResponse } = await job.handle.result({ signal: call.signal });
    return { ...messageBody(rawResponse), ...(!isVerbatim && { id }) };
  }
  const events = new EventStream(call.response, "anthropic");
  const told = new MessageEvents({ id, model: String(options.model), isVerbatim });
  try {
    for await (const event of job.handle.stream({ signal: call.signal }))
      for (const each of told.take(event)) await events.send(each, each.type);
    events.end();
  } catch (error) {
    await events.fail(error);
  }
  return undefined;
}
