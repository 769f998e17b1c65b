import { z } from "zod";
import { BatchHost } from "../../batch/served/batch-host.ts";
import { FILE_LIFE_SECONDS, readFile } from "../../store/file-record.ts";
import { cancelServedBatch, viewServedBatch } from "../../store/served-batch.ts";
import { listServedBatches } from "../../store/served-batch-list.ts";
import { SERVED_ENDPOINTS, type ServedBatchView } from "../../store/served-batch-record.ts";
import { ApiError, badParameter, notFound } from "../api-error.ts";
import { askedBatch, makeBatch } from "../asked-batch.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";
import { listView } from "./files.ts";

const ID_PREFIX = "batch_";
const MAX_WINDOW_HOURS = 14 * 24;
const MAX_METADATA = 16;

const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((metadata) => Object.keys(metadata).length <= MAX_METADATA, `has more than ${MAX_METADATA} pairs`);

const bodySchema = z
  .looseObject({
    input_file_id: z.string(),
    endpoint: z.enum(SERVED_ENDPOINTS),
    completion_window: z.string().regex(/^[1-9]\d{0,3}h$/, "must be a number of hours, such as 24h"),
    metadata: metadataSchema.nullish(),
    output_expires_after: z
      .looseObject({ anchor: z.literal("created_at"), seconds: z.int().min(3600).max(FILE_LIFE_SECONDS) })
      .nullish(),
  })
  .meta({ id: "CreateBatch" });
type Body = z.infer<typeof bodySchema>;

const paramsSchema = z.object({ id: z.string() });
type Params = z.infer<typeof paramsSchema>;
const listSchema = z.object({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});

const batchSchema = z
  .looseObject({ id: z.string(), object: z.literal("batch"), status: z.string() })
  .meta({ id: "Batch" });

/** `/v1/batches`: files of requests, run by any process that hosts batches. */
export const batchRoutes: RouteGroup = {
  name: "batches",
  basePath: "/v1",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/batches",
      summary: "Runs every line of a file within a window.",
      scope: "batch",
      body: bodySchema,
      answer: batchSchema,
      handle: create,
    }),
    defineRoute({
      method: "get",
      path: "/batches",
      summary: "Lists batches, the newest first.",
      scope: "batch",
      query: listSchema,
      answer: z.looseObject({ object: z.literal("list"), data: z.array(batchSchema), has_more: z.boolean() }),
      handle: list,
    }),
    defineRoute({
      method: "get",
      path: "/batches/:id",
      summary: "Returns where a batch stands.",
      scope: "batch",
      params: paramsSchema,
      answer: batchSchema,
      handle: async (call) => batchView(await knownBatch(call)),
    }),
    defineRoute({
      method: "post",
      path: "/batches/:id/cancel",
      summary: "Ends a batch: what waits is not sent, what is paid is kept.",
      scope: "batch",
      params: paramsSchema,
      answer: batchSchema,
      handle: cancel,
    }),
  ],
  start: async ({ store, settings, logger }) => {
    const host = await BatchHost.start({ store, settings, logger });
    return () => host.close();
  },
};

async function create(call: Call<unknown, unknown, Body>): Promise<unknown> {
  const { body } = call;
  const { store } = call.context;
  const { tenant } = call.principal;
  const hours = Number.parseInt(body.completion_window, 10);
  if (hours > MAX_WINDOW_HOURS)
    throw badParameter("completion_window", `completion_window: must be at most ${MAX_WINDOW_HOURS}h`);
  const input = await readFile(store, body.input_file_id, tenant);
  if (!input)
    throw badParameter(
      "input_file_id",
      `input_file_id: there is no file "${body.input_file_id.slice(0, 100)}"`,
    );
  if (input.purpose !== "batch")
    throw badParameter(
      "input_file_id",
      `input_file_id: the file's purpose is "${input.purpose}", not "batch"`,
    );
  // Who comes again may have uploaded the file again.
  const content = String(call.request.body).replace(input.id, input.sha256);
  const { id, isKnown } = await askedBatch(call, ID_PREFIX, "batches", content);
  const known = isKnown ? await viewServedBatch(store, id, tenant) : undefined;
  if (known) return batchView(known);
  const made = await makeBatch(call, {
    ...{ id, hours, endpoint: body.endpoint, inputFileId: input.id },
    outputLifeSeconds: body.output_expires_after?.seconds ?? FILE_LIFE_SECONDS,
    metadata: body.metadata ?? undefined,
  });
  return batchView(made);
}

async function list({
  context,
  principal,
  query,
}: Call<unknown, z.infer<typeof listSchema>>): Promise<unknown> {
  const { batches, hasMore } = await listServedBatches(context.store, {
    ...query,
    tenant: principal.tenant,
    prefix: ID_PREFIX,
  });
  return listView(batches.map(batchView), hasMore);
}

async function knownBatch({ context, params, principal }: Call<Params>): Promise<ServedBatchView> {
  const view = await viewServedBatch(context.store, params.id, principal.tenant);
  if (!view) throw notFound("batch", params.id);
  return view;
}

async function cancel(call: Call<Params>): Promise<unknown> {
  const { id } = (await knownBatch(call)).batch;
  const status = await cancelServedBatch(call.context.store, id);
  if (status !== "cancelling" && status !== "cancelled")
    throw new ApiError({
      status: 409,
      code: "batch_not_cancellable",
      message: `the batch ${id} is ${status}`,
    });
  return batchView(await knownBatch(call));
}

const seconds = (ms: number | undefined) => (ms === undefined ? null : Math.floor(ms / 1000));

function batchView({ batch, run }: ServedBatchView) {
  const { outputs, faults } = batch;
  const { total = 0, succeeded = 0, failed = 0 } = run ?? {};
  const { promptTokens = 0, completionTokens = 0, cachedTokens = 0 } = run ?? {};
  return {
    id: batch.id,
    object: "batch",
    endpoint: batch.endpoint,
    model: null,
    errors: faults ? { object: "list", data: faults } : null,
    input_file_id: batch.inputFileId,
    completion_window: batch.completionWindow,
    status: batch.status,
    output_file_id: outputs?.output ? batch.outputFileId : null,
    error_file_id: outputs?.errors ? batch.errorFileId : null,
    created_at: seconds(batch.createdAt),
    in_progress_at: seconds(batch.inProgressAt),
    expires_at: seconds(batch.expiresAt),
    finalizing_at: seconds(batch.finalizingAt),
    completed_at: seconds(batch.completedAt),
    failed_at: seconds(batch.failedAt),
    expired_at: seconds(batch.expiredAt),
    cancelling_at: seconds(batch.cancellingAt),
    cancelled_at: seconds(batch.cancelledAt),
    request_counts: { total, completed: succeeded, failed },
    usage: {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: cachedTokens },
      output_tokens: completionTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: promptTokens + completionTokens,
    },
    metadata: batch.metadata ?? null,
  };
}
