import { z } from "zod";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import { deleteResponse, type StoredResponse, saveResponse } from "../../store/response.ts";
import { readTenantSettings } from "../../store/tenant.ts";
import { retentionOf } from "../../store/tenant-retention.ts";
import { badParameter, toErrorAnswer } from "../api-error.ts";
import { type AskedJob, askJob } from "../asked-job.ts";
import { EventStream } from "../event-stream.ts";
import { answered, echoOf, type Fields, type ResponseHead, unanswered } from "../responses/response-body.ts";
import {
  inputItems,
  jobIdOf,
  type ResponseAccess,
  storedResponse,
  wholeInput,
} from "../responses/response-input.ts";
import { toRequest } from "../responses/response-request.ts";
import { ResponseEvents } from "../responses/response-stream.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

/** Fields that are unknown here go to the provider, or are refused where its API has no word for them. */
const bodySchema = z
  .looseObject({
    model: z.string().nullish(),
    input: z.union([z.string(), z.array(z.looseObject({}))]),
    instructions: z.string().nullish(),
    stream: z.boolean().nullish(),
    background: z.boolean().nullish(),
    store: z.boolean().nullish(),
    previous_response_id: z.string().nullish(),
    metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  })
  .meta({ id: "CreateResponse" });
type Body = z.infer<typeof bodySchema>;

const answerSchema = z
  .looseObject({ id: z.string(), object: z.literal("response") })
  .meta({ id: "Response" });
const idSchema = z.object({ id: z.string() });
const getSchema = z.object({
  stream: z.stringbool().optional(),
  starting_after: z.coerce.number().int().optional(),
});
const listSchema = z.object({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(["asc", "desc"]).default("desc"),
});

export const responseRoutes: RouteGroup = {
  name: "responses",
  basePath: "/v1",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/responses",
      summary: "Answers an input, whole, streamed, or in the background; for models of any provider.",
      scope: "complete",
      body: bodySchema,
      isExact: true,
      answer: answerSchema,
      handle: create,
    }),
    defineRoute({
      method: "get",
      path: "/responses/:id",
      summary: "Returns a stored response, or its events.",
      scope: "complete",
      params: idSchema,
      query: getSchema,
      answer: answerSchema,
      handle: async (call) => {
        const found = await storedResponse(accessOf(call), call.params.id);
        if (!call.query.stream) return currentBody(call, found);
        const { starting_after: after = -1 } = call.query;
        await streamResponse(
          call,
          call.context.clientOf(call.principal).handle(jobIdOf(found.id)),
          headOf(found),
          after,
        );
        return undefined;
      },
    }),
    defineRoute({
      method: "post",
      path: "/responses/:id/cancel",
      summary: "Cancels a response that runs in the background.",
      scope: "complete",
      params: idSchema,
      answer: answerSchema,
      handle: async (call) => {
        const found = await storedResponse(accessOf(call), call.params.id);
        if (!found.background) throw badParameter("id", "only a response in the background can be cancelled");
        await call.context.clientOf(call.principal).handle(jobIdOf(found.id)).cancel();
        return currentBody(call, found);
      },
    }),
    defineRoute({
      method: "delete",
      path: "/responses/:id",
      summary: "Deletes a stored response; its job's record goes with its own time.",
      scope: "complete",
      params: idSchema,
      answer: z.object({ id: z.string(), object: z.literal("response"), deleted: z.literal(true) }),
      handle: async (call) => {
        const { id } = await storedResponse(accessOf(call), call.params.id);
        await deleteResponse(call.context.store, id);
        return { id, object: "response", deleted: true };
      },
    }),
    defineRoute({
      method: "get",
      path: "/responses/:id/input_items",
      summary: "Lists the input items of a response.",
      scope: "complete",
      params: idSchema,
      query: listSchema,
      handle: async (call) => {
        const { input } = await storedResponse(accessOf(call), call.params.id);
        const { after, limit, order } = call.query;
        const items = order === "asc" ? input : input.toReversed();
        const from = after === undefined ? 0 : items.findIndex(({ id }) => id === after) + 1;
        const data = items.slice(from, from + limit);
        const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
        return { object: "list", data, ...ends, has_more: from + limit < items.length };
      },
    }),
  ],
};

function accessOf({ context, principal }: Call): ResponseAccess {
  return { store: context.store, client: context.clientOf(principal), tenant: principal.tenant };
}

async function create(call: Call<unknown, unknown, Body>): Promise<unknown> {
  const { context, principal, body } = call;
  const { background, store: isStored } = { background: body.background ?? false, store: body.store ?? true };
  if (background && !isStored)
    throw badParameter("background", "a response in the background has to be stored");
  const previous = body.previous_response_id ?? undefined;
  const own = inputItems(body.input, crypto.randomUUID());
  const whole = await wholeInput(accessOf(call), previous, own);
  if (whole.length === 0 || body.input === "") throw badParameter("input", "input: nothing is asked");
  const { messages, options } = toRequest(body, whole, context.settings);
  await using job = await askJob(call, messages, { ...options, stream: body.stream ?? false }, "responses");
  const stored: StoredResponse = {
    id: `resp_${job.handle.id.slice("job-".length)}`,
    ...(principal.tenant !== DEFAULT_TENANT && { tenant: principal.tenant }),
    createdAt: Date.now(),
    previous,
    background,
    input: own,
    echo: echoOf(body),
  };
  if (isStored) {
    const own = await readTenantSettings(context.store, principal.tenant);
    const { resultsMs } = retentionOf(context.settings.retention, own);
    await saveResponse(context.store, stored, Math.ceil(resultsMs / 1000));
  }
  const head = headOf(stored);
  if (body.stream) {
    await streamResponse(call, job.handle, head, -1);
    return undefined;
  }
  if (background) return unanswered(head, "queued");
  return answered(head, await job.handle.result({ signal: call.signal }));
}

function headOf({ id, createdAt, background, previous, echo }: StoredResponse): ResponseHead {
  return { id, createdAtMs: createdAt, background, previous, echo };
}

/** Where a response stands now. */
async function currentBody({ context, principal }: Call, found: StoredResponse): Promise<Fields> {
  const handle = context.clientOf(principal).handle(jobIdOf(found.id));
  const head = headOf(found);
  const { state } = await handle.status();
  if (state === "waiting" || state === "delayed") return unanswered(head, "queued");
  if (state === "active") return unanswered(head, "in_progress");
  if (state === "cancelled") return unanswered(head, "cancelled");
  try {
    return answered(head, await handle.result());
  } catch (error) {
    const { code, message } = toErrorAnswer(error);
    return unanswered(head, "failed", { code, message });
  }
}

async function streamResponse(
  call: Call,
  handle: AskedJob["handle"],
  head: ResponseHead,
  after: number,
): Promise<void> {
  const stream = new EventStream(call.response, "openai");
  const events = new ResponseEvents(head);
  const send = async (told: ReturnType<ResponseEvents["take"]>) => {
    for (const event of told) if (Number(event.sequence_number) > after) await stream.send(event, event.type);
  };
  let hasBegun = false;
  try {
    for await (const event of handle.stream({ signal: call.signal })) {
      if (!hasBegun) await send(events.begin());
      hasBegun = true;
      await send(events.take(event));
    }
    stream.end();
  } catch (error) {
    if (!hasBegun && !stream.hasBegun) return stream.fail(error);
    if (!hasBegun) await send(events.begin());
    await send(events.fail(error));
    stream.end();
  }
}
