import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { inFormat } from "../../batch/answer-forms.ts";
import { splitLines } from "../../batch/line-reader.ts";
import { MAX_OUTPUT_LINE_BYTES } from "../../batch/output-line.ts";
import { filesOf } from "../../batch/served/batch-host.ts";
import { checkedOnTheWay, lineCheck } from "../../batch/served/check-input.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import { objectId } from "../../shared/object-id.ts";
import {
  deleteFile,
  FILE_LIFE_SECONDS,
  type FileRecord,
  readFile,
  saveFile,
} from "../../store/file-record.ts";
import { cancelServedBatch, deleteServedBatch, viewServedBatch } from "../../store/served-batch.ts";
import { listServedBatches } from "../../store/served-batch-list.ts";
import { MESSAGES_ENDPOINT, type ServedBatchView } from "../../store/served-batch-record.ts";
import { ApiError, badParameter, notFound } from "../api-error.ts";
import { askedBatch, makeBatch } from "../asked-batch.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const ID_PREFIX = "msgbatch_";
const WINDOW_HOURS = 24;
/** Requests come in one body, which is held while it is written to the file store. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;

const bodySchema = z
  .looseObject({
    requests: z
      .array(z.looseObject({ custom_id: z.string().min(1).max(64), params: z.looseObject({}) }))
      .min(1),
  })
  .meta({ id: "CreateMessageBatch" });
type Body = z.infer<typeof bodySchema>;
const paramsSchema = z.object({ id: z.string() });
type Params = z.infer<typeof paramsSchema>;
const listSchema = z
  .object({
    after_id: z.string().optional(),
    before_id: z.string().optional(),
    limit: z.coerce.number().int().min(1).max(1000).default(20),
  })
  .refine(({ after_id, before_id }) => after_id === undefined || before_id === undefined, {
    path: ["before_id"],
    message: "has no place beside after_id",
  });
const batchSchema = z
  .looseObject({ id: z.string(), type: z.literal("message_batch"), processing_status: z.string() })
  .meta({ id: "MessageBatch" });

/** `/v1/messages/batches`: the same batches as `/v1/batches`, in the words of Anthropic's clients. */
export const messageBatchRoutes: RouteGroup = {
  name: "message batches",
  basePath: "/v1",
  dialect: "anthropic",
  routes: [
    defineRoute({
      method: "post",
      path: "/messages/batches",
      summary: "Runs requests of messages within 24 hours.",
      scope: "batch",
      body: bodySchema,
      isExact: true,
      maxBodyBytes: MAX_BODY_BYTES,
      answer: batchSchema,
      handle: create,
    }),
    defineRoute({
      method: "get",
      path: "/messages/batches",
      summary: "Lists batches of messages, the newest first.",
      scope: "batch",
      query: listSchema,
      answer: z.looseObject({ data: z.array(batchSchema), has_more: z.boolean() }),
      handle: async (call: Call<unknown, z.infer<typeof listSchema>>) => {
        const { context, principal, query } = call;
        const { after_id: after, before_id: before, limit } = query;
        const page = { tenant: principal.tenant, prefix: ID_PREFIX, after, before, limit };
        const { batches, hasMore } = await listServedBatches(context.store, page);
        const data = batches.map((view) => toMessageBatch(view, call));
        return { data, has_more: hasMore, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
      },
    }),
    defineRoute({
      method: "get",
      path: "/messages/batches/:id",
      summary: "Returns where a batch of messages stands.",
      scope: "batch",
      params: paramsSchema,
      answer: batchSchema,
      handle: async (call) => toMessageBatch(await knownBatch(call), call),
    }),
    defineRoute({
      method: "post",
      path: "/messages/batches/:id/cancel",
      summary: "Ends a batch of messages: what waits is not sent, what is paid is kept.",
      scope: "batch",
      params: paramsSchema,
      answer: batchSchema,
      handle: async (call) => {
        await cancelServedBatch(call.context.store, (await knownBatch(call)).batch.id);
        return toMessageBatch(await knownBatch(call), call);
      },
    }),
    defineRoute({
      method: "delete",
      path: "/messages/batches/:id",
      summary: "Deletes a batch that has ended, with its requests and results.",
      scope: "batch",
      params: paramsSchema,
      answer: z.object({ id: z.string(), type: z.literal("message_batch_deleted") }),
      handle: remove,
    }),
    defineRoute({
      method: "get",
      path: "/messages/batches/:id/results",
      summary: "Returns a line for each request of a batch that has ended.",
      scope: "batch",
      params: paramsSchema,
      answerType: "application/x-jsonl",
      handle: sendResults,
    }),
  ],
};

async function create(call: Call<unknown, unknown, Body>): Promise<unknown> {
  const { context, principal, body } = call;
  const { store, settings } = context;
  const { tenant, keyId: by } = principal;
  const files = filesOf(settings, store);
  const { id, isKnown } = await askedBatch(call, ID_PREFIX, ID_PREFIX);
  const known = isKnown ? await viewServedBatch(store, id, tenant) : undefined;
  if (known) return toMessageBatch(known, call, body.requests.length);
  const fileId = objectId("file-");
  const lines = body.requests.map(({ custom_id, params }) =>
    Buffer.from(`${JSON.stringify({ custom_id, params })}\n`),
  );
  const check = lineCheck({ settings, needsPrices: principal.hasCostLimit }, MESSAGES_ENDPOINT);
  const spooled = await files.spool(fileId, checkedOnTheWay(Readable.from(lines), check));
  const [fault] = check.faults();
  if (fault) {
    await spooled.discard();
    const at = fault.line === null ? "requests" : `requests[${fault.line - 1}]`;
    throw badParameter(at, `${at}: ${fault.message}`, undefined, fault.code);
  }
  await spooled.keep();
  const { bytes, sha256 } = spooled;
  const createdAt = Date.now();
  const file: FileRecord = {
    ...{ id: fileId, tenant, by, bytes, sha256, createdAt, check: check.found() },
    filename: `${id}.jsonl`,
    purpose: "batch",
    expiresAt: createdAt + FILE_LIFE_SECONDS * 1000,
  };
  await saveFile(store, file);
  const made = await makeBatch(call, {
    ...{ id, hours: WINDOW_HOURS, endpoint: MESSAGES_ENDPOINT, inputFileId: fileId },
    ...{ outputLifeSeconds: FILE_LIFE_SECONDS, metadata: undefined },
  });
  if (made.batch.inputFileId !== fileId) {
    // The same request, sent twice, was here first, with an input of its own.
    await deleteFile(store, file);
    await files.delete(fileId);
  }
  return toMessageBatch(made, call, body.requests.length);
}

async function remove(call: Call<Params>): Promise<unknown> {
  const { store, settings } = call.context;
  const { batch } = await knownBatch(call);
  const { id, tenant, inputFileId, outputFileId, errorFileId } = batch;
  if (!(await deleteServedBatch(store, batch)))
    throw new ApiError({
      status: 400,
      code: "batch_not_ended",
      message: `the batch ${id} has not ended`,
      hint: "cancel it first, or wait for its end",
    });
  for (const fileId of [inputFileId, outputFileId, errorFileId]) {
    await deleteFile(store, { id: fileId, tenant });
    await filesOf(settings, store).delete(fileId);
  }
  return { id, type: "message_batch_deleted" };
}

async function knownBatch({ context, params, principal }: Call<Params>): Promise<ServedBatchView> {
  const view = await viewServedBatch(context.store, params.id, principal.tenant);
  if (view?.batch.endpoint === MESSAGES_ENDPOINT) return view;
  throw notFound("batch", params.id);
}

const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

function toMessageBatch({ batch, run }: ServedBatchView, { request }: Call, asked = 0) {
  const { id, status, completedAt, failedAt, expiredAt, cancelledAt } = batch;
  const { total = asked, succeeded = 0, failed = 0 } = run ?? {};
  const endedAt = iso(completedAt ?? cancelledAt ?? expiredAt ?? failedAt);
  const unsent = {
    canceled: status === "cancelled" ? failed : 0,
    expired: status === "expired" ? failed : 0,
  };
  const isCancelling = status === "cancelling" || batch.cancellingAt !== undefined;
  return {
    id,
    type: "message_batch",
    processing_status: endedAt ? "ended" : isCancelling ? "canceling" : "in_progress",
    request_counts: {
      processing: endedAt ? 0 : total - succeeded - failed,
      succeeded,
      errored: failed - unsent.canceled - unsent.expired,
      ...unsent,
    },
    created_at: iso(batch.createdAt),
    expires_at: iso(batch.expiresAt),
    ended_at: endedAt,
    cancel_initiated_at: iso(batch.cancellingAt),
    archived_at: null,
    results_url:
      endedAt && batch.outputs
        ? `${request.protocol}://${request.headers.host}/v1/messages/batches/${id}/results`
        : null,
  };
}

async function sendResults(call: Call<Params>): Promise<undefined> {
  const { batch } = await knownBatch(call);
  const { outputs, outputFileId, errorFileId } = batch;
  if (!outputs)
    throw new ApiError({
      status: 409,
      code: "no_results",
      message: `the batch ${batch.id} is ${batch.status}: it has no results`,
    });
  const { context, principal, response, signal } = call;
  const files = filesOf(context.settings, context.store);
  const ids = [...(outputs.output ? [outputFileId] : []), ...(outputs.errors ? [errorFileId] : [])];
  for (const id of ids)
    if (!(await readFile(context.store, id, principal.tenant))) throw notFound("file of results", id);
  async function* results() {
    for (const id of ids)
      for await (const { data } of splitLines(await files.read(id), MAX_OUTPUT_LINE_BYTES))
        yield `${resultLine(data.toString())}\n`;
  }
  response.set("content-type", "application/x-jsonl");
  await pipeline(results, response, { signal }).catch(() => response.destroy());
  return undefined;
}

/** Rows that were not sent have results of their own at Anthropic. */
const UNSENT: Readonly<Record<string, string>> = { batch_cancelled: "canceled", batch_expired: "expired" };

function resultLine(line: string): string {
  const code = fieldsOf(fieldsOf(parseJson(line)).error).code;
  const type = UNSENT[String(code)];
  if (type) return JSON.stringify({ custom_id: fieldsOf(parseJson(line)).custom_id, result: { type } });
  // Our own id of the row is of no use here.
  return inFormat(line, "anthropic").replace(/^\{"id":"[^"]*",/, "{");
}
