import { z } from "zod";
import type { ChatMessage, EnqueueOptions } from "../../calls/completion-options.ts";
import type { CompletionHandle } from "../../client/completion-handle.ts";
import { InputError } from "../../shared/errors.ts";
import { badParameter, errorBody, notFound } from "../api-error.ts";
import { askJob } from "../asked-job.ts";
import { EventStream } from "../event-stream.ts";
import { errorOf, errorSchema, outcomeWithin, waitSchema } from "../rest/outcome.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const ENDED = ["succeeded", "failed", "cancelled"];

const states = z.enum(["waiting", "delayed", "suspended", "active", "succeeded", "failed", "cancelled"]);
const jobSchema = z
  .object({
    id: z.string(),
    state: states,
    waitsFor: z.array(z.string()).meta({ description: "Why it does not run yet, for people." }),
  })
  .meta({ id: "Job" });
const resultSchema = z
  .looseObject({
    id: z.string(),
    state: states,
    result: z.looseObject({ finalResponse: z.string() }).optional(),
    error: errorSchema.optional(),
  })
  .meta({ id: "JobResult", description: "`result` of a job that succeeded, `error` of one that did not." });
const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;

/** The options are those of the client's `enqueue`, which checks those that are not named here too. */
const enqueueSchema = z
  .looseObject({
    kind: z.enum(["completion", "embedding"]).default("completion"),
    message: z
      .union([z.string(), z.array(z.looseObject({})).min(1), z.array(z.string()).min(1).max(2048)])
      .meta({ description: "A prompt, parts of one message, or messages; of an embedding its texts." }),
    model: z.union([z.string(), z.array(z.string()).max(10)]).optional(),
    system: z.string().optional(),
    conversation: z.string().optional(),
    temperature: z.number().optional(),
    maxTokens: z.number().optional(),
    schema: z.looseObject({}).meta({ description: "JSON Schema of a structured answer." }).optional(),
    tools: z.array(z.string()).meta({ description: "Names of tools that workers have." }).optional(),
    guardrails: z
      .array(z.string())
      .meta({ description: "Names of guardrails that workers have." })
      .optional(),
    extra: z.looseObject({}).optional(),
    stream: z.boolean().optional(),
    priority: z.number().optional(),
    delayMs: z.number().optional(),
    deadlineMs: z.number().optional(),
    maxAttempts: z.number().optional(),
    maxCostUsd: z.number().optional(),
  })
  .meta({ id: "EnqueueJob" });
type Enqueue = z.infer<typeof enqueueSchema>;

/** `/api/jobs`: single calls of models. */
export const jobRoutes: RouteGroup = {
  name: "jobs",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/jobs",
      summary: "Enqueues a call; with the header Idempotency-Key it is made once.",
      scope: "complete",
      body: enqueueSchema,
      answer: jobSchema,
      handle: async (call) => {
        const handle = await enqueue(call);
        const job = await shown(handle);
        call.response.status(202).location(`/api/jobs/${handle.id}`);
        return job;
      },
    }),
    defineRoute({
      method: "get",
      path: "/jobs/:id",
      summary: "Says where a job stands.",
      scope: "read",
      params: idSchema,
      answer: jobSchema,
      handle: (call) => shown(jobOf(call)),
    }),
    defineRoute({
      method: "get",
      path: "/jobs/:id/result",
      summary: "Returns what a job brought; 202 with its state while it has not ended.",
      scope: ["complete", "content"],
      params: idSchema,
      query: waitSchema,
      answer: resultSchema,
      handle: resultOf,
    }),
    defineRoute({
      method: "get",
      path: "/jobs/:id/events",
      summary: "Streams a job's answer as server-sent events: its pieces while they come, then its result.",
      scope: ["complete", "content"],
      params: idSchema,
      answerType: "text/event-stream",
      handle: streamJob,
    }),
    defineRoute({
      method: "post",
      path: "/jobs/:id/cancel",
      summary: "Cancels a job: no further call is made for it.",
      scope: ["complete", "operate"],
      params: idSchema,
      answer: jobSchema,
      handle: async (call) => {
        const job = jobOf(call);
        await job.cancel();
        return shown(job);
      },
    }),
    defineRoute({
      method: "post",
      path: "/jobs/:id/retry",
      summary: "Lets a failed job try again; what it has is not paid again.",
      scope: ["complete", "operate"],
      params: idSchema,
      answer: jobSchema,
      handle: async (call) => {
        const job = jobOf(call);
        await job.retry();
        return shown(job);
      },
    }),
  ],
};

async function enqueue(call: Call<unknown, unknown, Enqueue>): Promise<CompletionHandle> {
  const { kind, message, ...options } = call.body;
  for (const name of ["idempotencyKey", "requestId", "traceparent", "tracestate"]) {
    if (name in options) throw badParameter(name, `${name}: it is given by a header`);
  }
  const own = ["embedding", "responses"].find((name) => name in (options.extra ?? {}));
  if (own)
    throw badParameter(`extra.${own}`, `there is no parameter "${own}"`, undefined, "unknown_parameter");
  if (kind === "completion") {
    if (typeof message !== "string" && message.some((part) => typeof part === "string"))
      throw badParameter("message", "message: a list has parts or messages, no texts");
    return (await askJob(call, message as ChatMessage[], options as EnqueueOptions, "job")).handle;
  }
  const texts = [message].flat().filter((text) => typeof text === "string");
  if (texts.length < [message].flat().length)
    throw badParameter("message", "message: of an embedding it is a text, or a list of texts");
  const messages = texts.map((content): ChatMessage => ({ role: "user", content }));
  const asked = { ...options, extra: { ...options.extra, embedding: {} } } as EnqueueOptions;
  return (await askJob(call, messages, asked, "job")).handle;
}

function jobOf({ context, principal, params: { id } }: Call<Id>): CompletionHandle {
  try {
    return context.clientOf(principal).handle(id);
  } catch (error) {
    if (error instanceof InputError) throw notFound("job", id);
    throw error;
  }
}

async function shown(handle: CompletionHandle) {
  return { id: handle.id, ...(await handle.status()) };
}

async function resultOf(call: Call<Id, z.infer<typeof waitSchema>>): Promise<unknown> {
  const job = jobOf(call);
  const { waitMs } = call.query;
  const { state } = await job.status();
  const outcome =
    ENDED.includes(state) || waitMs > 0
      ? await outcomeWithin(call, ENDED.includes(state) ? undefined : waitMs, (wait) => job.result(wait))
      : undefined;
  if (outcome === undefined) {
    call.response.status(202);
    return shown(job);
  }
  if ("value" in outcome) return { id: job.id, state: "succeeded", result: outcome.value };
  const { code } = outcome.error;
  return { id: job.id, state: code === "cancelled" ? "cancelled" : "failed", error: errorOf(outcome.error) };
}

async function streamJob(call: Call<Id>): Promise<undefined> {
  const job = jobOf(call);
  const { response, requestId } = call;
  await job.status();
  const events = new EventStream(response, "openai");
  try {
    for await (const event of job.stream({ signal: call.signal })) await events.send(event, event.type);
    events.end();
  } catch (error) {
    await events.fail(error, (answer) => ({ data: errorBody(answer, "openai", requestId), event: "error" }));
  }
  return undefined;
}
