import { z } from "zod";
import type { ChatMessage } from "../../calls/completion-options.ts";
import type { CompletionResult } from "../../calls/completion-result.ts";
import { badParameter } from "../api-error.ts";
import { type AskedJob, askJob } from "../asked-job.ts";
import { EventStream } from "../event-stream.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";
import { ToldAnswer } from "../told-answer.ts";

/** Fields that are unknown here go to the provider; the worker refuses what its dialect has no word for. */
const bodySchema = z
  .looseObject({
    model: z.string().optional(),
    messages: z.array(z.looseObject({ role: z.string() })).min(1),
    stream: z.boolean().nullish(),
    stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  })
  .meta({ id: "CreateChatCompletion" });
type Body = z.infer<typeof bodySchema>;

const NO_USAGE = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
/** Words of our own inside a request, which no caller may use. */
const OWN_WORDS = ["embedding", "responses", "anthropic"];

export const chatRoutes: RouteGroup = {
  name: "chat",
  basePath: "/v1",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/chat/completions",
      summary: "Answers messages: one durable job, whose answer is waited for or streamed.",
      scope: "complete",
      body: bodySchema,
      isExact: true,
      answer: z
        .looseObject({ id: z.string(), object: z.literal("chat.completion") })
        .meta({ id: "ChatCompletion" }),
      handle: complete,
    }),
  ],
};

async function complete(call: Call<unknown, unknown, Body>): Promise<unknown> {
  const { model, messages, stream, stream_options: streamOptions, ...extra } = call.body;
  const own = OWN_WORDS.find((name) => name in extra);
  if (own) throw badParameter(own, `there is no parameter "${own}"`, undefined, "unknown_parameter");
  const options = { model, extra, stream: stream ?? false };
  await using job = await askJob(call, messages as ChatMessage[], options, "chat");
  if (!stream) return completionOf(await job.handle.result({ signal: call.signal }));
  await streamCompletion(call, job, {
    model: model ?? "",
    includeUsage: streamOptions?.include_usage ?? false,
  });
  return undefined;
}

function completionOf({ rawResponse }: CompletionResult): unknown {
  const { choices, ...rest } = rawResponse;
  const created = rest.created ?? Math.floor(Date.now() / 1000);
  return {
    ...rest,
    object: "chat.completion",
    created,
    choices: choices.map((choice, index) => ({ index, ...choice })),
  };
}

async function streamCompletion(
  call: Call,
  { handle }: AskedJob,
  { model, includeUsage }: { model: string; includeUsage: boolean },
): Promise<void> {
  const events = new EventStream(call.response, "openai");
  const head = {
    // One id for all chunks, known before the provider has one.
    id: `chatcmpl-${handle.id.slice("job-".length)}`,
    object: "chat.completion.chunk",
    created: Math.floor(Date.now() / 1000),
    model,
  };
  const usage = includeUsage ? { usage: null } : {};
  const send = (delta: object, finish: string | null = null) =>
    events.send({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], ...usage });
  const told = new ToldAnswer();
  let hasBegun = false;
  try {
    for await (const event of handle.stream({ signal: call.signal })) {
      if (!hasBegun) await send({ role: "assistant", content: "", refusal: null });
      hasBegun = true;
      for (const piece of told.take(event)) {
        if (piece.type === "text") await send({ content: piece.text });
        else if (piece.type === "reasoning") await send({ reasoning: piece.text });
        else await send({ tool_calls: [toolCallDelta(piece)] });
      }
      if (event.type !== "result") continue;
      const { rawResponse } = event.result;
      await send({}, rawResponse.choices[0]?.finish_reason ?? "stop");
      if (includeUsage) await events.send({ ...head, choices: [], usage: rawResponse.usage ?? NO_USAGE });
    }
    await events.send("[DONE]");
    events.end();
  } catch (error) {
    await events.fail(error);
  }
}

function toolCallDelta(piece: { index: number; id?: string; name?: string; arguments: string }): object {
  const { index, id, name, arguments: text } = piece;
  if (id === undefined) return { index, function: { arguments: text } };
  return { index, id, type: "function", function: { name, arguments: text } };
}
