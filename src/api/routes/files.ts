import { z } from "zod";
import { filesOf } from "../../batch/served/batch-host.ts";
import { checkedOnTheWay, faultsFound, lineCheck } from "../../batch/served/check-input.ts";
import { type BatchFault, batchFaultSchema } from "../../shared/file-check.ts";
import { objectId } from "../../shared/object-id.ts";
import type { Settings } from "../../shared/settings.ts";
import {
  deleteFile,
  FILE_LIFE_SECONDS,
  FILE_PURPOSES,
  type FileRecord,
  listFiles,
  readFile,
  saveFile,
} from "../../store/file-record.ts";
import { filesInUse } from "../../store/served-batch-list.ts";
import { ApiError, badParameter, notFound } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";
import { sendFile } from "../send-file.ts";
import { readUpload } from "../upload.ts";

const paramsSchema = z.object({ id: z.string() });
type Params = z.infer<typeof paramsSchema>;

const listSchema = z.object({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000),
  order: z.enum(["asc", "desc"]).default("desc"),
  purpose: z.string().optional(),
});

const fileSchema = z
  .object({
    id: z.string(),
    object: z.literal("file"),
    bytes: z.int(),
    created_at: z.int(),
    expires_at: z.int(),
    filename: z.string(),
    purpose: z.enum(FILE_PURPOSES),
    status: z.enum(["processed", "error"]),
    status_details: z.string().nullable(),
    errors: z
      .object({ object: z.literal("list"), data: z.array(batchFaultSchema) })
      .optional()
      .meta({ description: "What is wrong with the lines of a batch's input." }),
    sha256: z.string(),
  })
  .meta({ id: "File" });

const purposeSchema = z.enum(FILE_PURPOSES).exclude(["batch_output"]);
const secondsSchema = z.coerce.number().int().min(3600).max(FILE_LIFE_SECONDS);

/** `/v1/files`: bytes in the file store, records in Redis; each belongs to the tenant of its key. */
export const fileRoutes: RouteGroup = {
  name: "files",
  basePath: "/v1",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "post",
      path: "/files",
      summary: "Stores a file, which is streamed to the disk.",
      scope: "batch",
      bodyType: "multipart/form-data",
      answer: fileSchema,
      handle: create,
    }),
    defineRoute({
      method: "get",
      path: "/files",
      summary: "Lists files by the time of their making.",
      scope: "batch",
      query: listSchema,
      answer: z.looseObject({ object: z.literal("list"), data: z.array(fileSchema), has_more: z.boolean() }),
      handle: list,
    }),
    defineRoute({
      method: "get",
      path: "/files/:id",
      summary: "Returns what is known of a file.",
      scope: "batch",
      params: paramsSchema,
      answer: fileSchema,
      handle: async (call) => fileView(await knownFile(call), call.context.settings),
    }),
    defineRoute({
      method: "get",
      path: "/files/:id/content",
      summary: "Returns the bytes of a file, or a range of them.",
      scope: "batch",
      params: paramsSchema,
      answerType: "application/octet-stream",
      handle: async (call) =>
        sendFile(call, await knownFile(call), filesOf(call.context.settings, call.context.store)),
    }),
    defineRoute({
      method: "delete",
      path: "/files/:id",
      summary: "Deletes a file.",
      scope: "batch",
      params: paramsSchema,
      answer: z.object({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) }),
      handle: remove,
    }),
  ],
};

async function create(call: Call): Promise<unknown> {
  const { context, principal, request, signal } = call;
  const { settings, store } = context;
  const files = filesOf(settings, store);
  const id = objectId("file-");
  const check = lineCheck({ settings, needsPrices: principal.hasCostLimit });
  const mayRefuse = request.headers["x-gluellm-on-line-error"] === "refuse";
  const { file, fields } = await readUpload(request, {
    ...{ files, id, maxBytes: settings.api.maxFileBytes, signal },
    watch: (source, refuse) =>
      checkedOnTheWay(source, check, (fault) => {
        if (mayRefuse) refuse(badParameter("file", lineText(fault), "mend the line", fault.code));
      }),
  });
  try {
    const { purpose, lifeSeconds } = checkFields(fields);
    const { filename, bytes, sha256 } = file;
    const createdAt = Date.now();
    const expiresAt = createdAt + lifeSeconds * 1000;
    await file.keep();
    const { tenant, keyId: by } = principal;
    const record = {
      ...{ id, tenant, by, filename, purpose, bytes, sha256, createdAt, expiresAt },
      ...(purpose === "batch" && { check: check.found() }),
    };
    await saveFile(store, record).catch(async (error: unknown) => {
      await files.delete(id);
      throw error;
    });
    return fileView(record, settings);
  } finally {
    await file.discard();
  }
}

/** @throws ApiError 400 */
function checkFields(fields: ReadonlyMap<string, string>): {
  purpose: z.infer<typeof purposeSchema>;
  lifeSeconds: number;
} {
  const purpose = purposeSchema.safeParse(fields.get("purpose"));
  if (!purpose.success)
    throw badParameter("purpose", `purpose: must be one of ${purposeSchema.options.join(", ")}`);
  const anchor = fields.get("expires_after[anchor]");
  const given = fields.get("expires_after[seconds]");
  if (anchor !== undefined && anchor !== "created_at")
    throw badParameter("expires_after.anchor", 'expires_after.anchor: must be "created_at"');
  const seconds = secondsSchema.safeParse(given ?? FILE_LIFE_SECONDS);
  if (!seconds.success || (anchor === undefined) !== (given === undefined))
    throw badParameter(
      "expires_after.seconds",
      `expires_after.seconds: must be from 3600 to ${FILE_LIFE_SECONDS}`,
    );
  return { purpose: purpose.data, lifeSeconds: seconds.data };
}

async function list(call: Call<unknown, z.infer<typeof listSchema>>): Promise<unknown> {
  const { files, hasMore } = await listFiles(call.context.store, {
    ...call.query,
    tenant: call.principal.tenant,
  });
  return listView(
    files.map((file) => fileView(file, call.context.settings)),
    hasMore,
  );
}

/** A page as OpenAI's clients read it. */
export function listView<T extends { id: string }>(data: readonly T[], hasMore: boolean): object {
  const [first_id, last_id] = [data[0]?.id ?? null, data.at(-1)?.id ?? null];
  return { object: "list", data, first_id, last_id, has_more: hasMore };
}

async function knownFile({ context, params, principal }: Call<Params>): Promise<FileRecord> {
  const file = await readFile(context.store, params.id, principal.tenant);
  if (!file) throw notFound("file", params.id);
  return file;
}

async function remove(call: Call<Params>): Promise<unknown> {
  const { store, settings } = call.context;
  const file = await knownFile(call);
  const { id } = file;
  if ((await filesInUse(store)).has(id))
    throw new ApiError({
      status: 409,
      code: "file_in_use",
      message: `a batch that has not ended reads ${id}`,
      hint: "cancel the batch first, or wait for its end",
    });
  await deleteFile(store, file);
  await filesOf(settings, store).delete(id);
  return { id, object: "file", deleted: true };
}

function fileView(
  { id, bytes, createdAt, expiresAt, filename, purpose, sha256, check }: FileRecord,
  settings: Settings,
): z.infer<typeof fileSchema> {
  const faults =
    (check && faultsFound(check, check.endpoint ?? "", { settings, needsPrices: false })) ??
    check?.faults ??
    [];
  const [first] = faults;
  const others = faults.length > 1 ? `; ${faults.length - 1} more` : "";
  return {
    id,
    object: "file",
    bytes,
    created_at: Math.floor(createdAt / 1000),
    expires_at: Math.floor(expiresAt / 1000),
    filename,
    purpose,
    status: first ? "error" : "processed",
    status_details: first ? `${lineText(first)}${others}` : null,
    ...(first && { errors: { object: "list", data: faults } }),
    sha256,
  };
}

function lineText({ line, message }: BatchFault): string {
  return line === null ? message : `line ${line}: ${message}`;
}
