import { z } from "zod";
import { filesOf } from "../../batch/served/batch-host.ts";
import { failedRowsByCause, retryFailedRows } from "../../batch/served/failed-rows.ts";
import { type FailureCause, failureCauseSchema } from "../../shared/failure-causes.ts";
import { allows } from "../../shared/scopes.ts";
import { cancelBatch, failuresOf } from "../../store/batch.ts";
import { type AnyBatch, listAnyBatches, readAnyBatch } from "../../store/batch-list.ts";
import { readFile } from "../../store/file-record.ts";
import { cancelServedBatch, pauseServedBatch } from "../../store/served-batch.ts";
import type { ServedBatch } from "../../store/served-batch-record.ts";
import { ApiError, notFound } from "../api-error.ts";
import { batchStateSchema, batchViewSchema, showBatch, stateOf } from "../rest/batch-view.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";
import { sendFile } from "../send-file.ts";

const idSchema = z.object({ id: z.string() });
type Id = z.infer<typeof idSchema>;
const listSchema = z.object({
  state: batchStateSchema.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z
    .string()
    .regex(/^\d{1,15}\.[\w-]{1,100}$/, "is none that a page had")
    .optional(),
});
const STEERING = ["batch", "operate"] as const;
const CONTENT = ["batch", "content"] as const;

/** `/api/batches`: the batches of the service, and those that programs and commands run by themselves. */
export const batchOperationRoutes: RouteGroup = {
  name: "batch operations",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/batches",
      summary: "Lists batches, the newest first; cursor is that of the page before.",
      scope: "read",
      query: listSchema,
      answer: z.object({ data: z.array(batchViewSchema), cursor: z.string().nullable() }),
      handle: async ({ context, principal, query }: Call<unknown, z.infer<typeof listSchema>>) => {
        const { state, limit, cursor } = query;
        const page = await listAnyBatches(context.store, {
          ...{ tenant: principal.tenant, limit, cursor },
          isWanted: (batch) => state === undefined || stateOf(batch) === state,
        });
        return { data: page.batches.map(showBatch), cursor: page.cursor };
      },
    }),
    defineRoute({
      method: "get",
      path: "/batches/:id",
      summary:
        "Says where a batch stands: its rows by state, its pace, its end as far as that can be told, its cost.",
      scope: "read",
      params: idSchema,
      answer: batchViewSchema,
      handle: async (call) => showBatch(await batchOf(call)),
    }),
    defineRoute({
      method: "get",
      path: "/batches/:id/failures",
      summary: "Groups a batch's failed rows by cause, the most rows first.",
      scope: ["read", ...CONTENT],
      params: idSchema,
      answer: z.object({ data: z.array(failureCauseSchema) }),
      handle: failures,
    }),
    defineRoute({
      method: "get",
      path: "/batches/:id/output",
      summary: "Returns the lines of the rows that were answered, of a batch of the service that has ended.",
      scope: CONTENT,
      params: idSchema,
      answerType: "application/octet-stream",
      handle: (call) => download(call, "output"),
    }),
    defineRoute({
      method: "get",
      path: "/batches/:id/errors",
      summary: "Returns the lines of its failed rows.",
      scope: CONTENT,
      params: idSchema,
      answerType: "application/octet-stream",
      handle: (call) => download(call, "errors"),
    }),
    defineRoute({
      method: "post",
      path: "/batches/:id/pause",
      summary:
        "Lets a batch of the service send no row until it is resumed; calls in flight end, its window goes on.",
      scope: STEERING,
      params: idSchema,
      answer: batchViewSchema,
      handle: (call) => pause(call, true),
    }),
    defineRoute({
      method: "post",
      path: "/batches/:id/resume",
      summary: "Lets a paused batch go on.",
      scope: STEERING,
      params: idSchema,
      answer: batchViewSchema,
      handle: (call) => pause(call, false),
    }),
    defineRoute({
      method: "post",
      path: "/batches/:id/retry",
      summary:
        "Sends the rows of an ended batch that have no answer in a new batch, the same one however often it is asked for.",
      scope: STEERING,
      params: idSchema,
      answer: batchViewSchema,
      handle: retry,
    }),
    defineRoute({
      method: "post",
      path: "/batches/:id/cancel",
      summary: "Ends a batch: what waits is not sent, what is paid is kept.",
      scope: STEERING,
      params: idSchema,
      answer: batchViewSchema,
      handle: cancel,
    }),
  ],
};

async function batchOf({ context, principal, params: { id } }: Call<Id>): Promise<AnyBatch> {
  const batch = await readAnyBatch(context.store, id, principal.tenant);
  if (!batch) throw notFound("batch", id);
  return batch;
}

/** @throws ApiError 409 for a batch that a program runs, whose files are the program's */
async function servedOf(call: Call<Id>): Promise<ServedBatch> {
  const { id, served } = await batchOf(call);
  if (served) return served;
  throw new ApiError({
    status: 409,
    code: "batch_of_program",
    message: `the batch ${id} is run by a program, which has its files`,
    hint: "stop that program, or run its command again",
  });
}

async function failures(call: Call<Id>): Promise<{ data: FailureCause[] }> {
  const { served, run } = await batchOf(call);
  const causes = served?.outputs?.errors
    ? await failedRowsByCause(filesOf(call.context.settings, call.context.store), served)
    : run
      ? failuresOf(run)
      : [];
  const { scopes } = call.principal;
  if (CONTENT.some((scope) => allows(scopes, scope))) return { data: causes };
  // It may quote what was asked.
  return { data: causes.map(({ providerMessage: _, ...cause }) => cause) };
}

async function download(call: Call<Id>, kind: "output" | "errors"): Promise<undefined> {
  const { context, principal } = call;
  const { id, status, outputs, outputFileId, errorFileId } = await servedOf(call);
  if (!outputs?.[kind])
    throw new ApiError({
      status: 409,
      code: "no_results",
      message: `the batch ${id} is ${status}: it has no such file`,
    });
  const fileId = kind === "output" ? outputFileId : errorFileId;
  const file = await readFile(context.store, fileId, principal.tenant);
  if (!file) throw notFound("file", fileId);
  return sendFile(call, file, filesOf(context.settings, context.store));
}

async function pause(call: Call<Id>, isPaused: boolean): Promise<unknown> {
  const { id } = await servedOf(call);
  const status = await pauseServedBatch(call.context.store, id, isPaused);
  if (status !== "validating" && status !== "in_progress")
    throw new ApiError({ status: 409, code: "batch_over", message: `the batch ${id} is ${status}` });
  return showBatch(await batchOf(call));
}

async function retry(call: Call<Id>): Promise<unknown> {
  const { context, principal, response } = call;
  const { store, settings } = context;
  const owner = { by: principal.keyId, needsPrices: principal.hasCostLimit };
  const id = await retryFailedRows(store, filesOf(settings, store), await servedOf(call), owner);
  response.status(201).location(`/api/batches/${id}`);
  return showBatch(await batchOf({ ...call, params: { id } }));
}

async function cancel(call: Call<Id>): Promise<unknown> {
  const { store } = call.context;
  const { id, served } = await batchOf(call);
  const status = served
    ? await cancelServedBatch(store, id)
    : (await cancelBatch(store, id, call.principal.tenant)).status;
  if (status !== "cancelling" && status !== "cancelled")
    throw new ApiError({
      status: 409,
      code: "batch_not_cancellable",
      message: `the batch ${id} is ${status}`,
    });
  return showBatch(await batchOf(call));
}
