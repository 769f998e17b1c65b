import { z } from "zod";
import { requireLines, storeInput } from "../batch/served/store-input.ts";
import type { BatchAction, Definition } from "../schedules/definition.ts";
import type { Scheduler } from "../schedules/scheduler.ts";
import { inputLifeEnd } from "../schedules/start-action.ts";
import { InputError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import { DEFAULT_TENANT, type Owner } from "../shared/tenant.ts";
import { keepFileUntil, readFile } from "../store/file-record.ts";
import { SERVED_ENDPOINTS } from "../store/served-batch-record.ts";
import type { Store } from "../store/store.ts";

/** A batch that each tick makes, which processes of the service run (`gluellm api`, `gluellm worker`). */
export interface ScheduledBatch {
  /** A local file of OpenAI batch lines, which is stored now; or `inputFileId`. */
  inputPath?: string;
  /** The id of a file of the API. It lives on for as long as the schedule ticks. */
  inputFileId?: string;
  /** Whose lines they are; default: that of the first line. */
  endpoint?: (typeof SERVED_ENDPOINTS)[number];
  /** In which each batch has to end, such as `24h`, the default; at most `336h`. */
  window?: string;
  /** Kept with each batch: up to 16 pairs. */
  metadata?: Record<string, string>;
}

const MAX_WINDOW_HOURS = 336;
const MAX_METADATA = 16;

export const scheduledBatchSchema = z.strictObject({
  inputPath: z.string().min(1).optional(),
  inputFileId: z.string().optional(),
  endpoint: z.enum(SERVED_ENDPOINTS).optional(),
  window: z
    .string()
    .regex(/^[1-9]\d{0,2}h$/, "must be a number of hours, such as 24h")
    .transform((text) => Number.parseInt(text, 10))
    .refine((hours) => hours <= MAX_WINDOW_HOURS, `must be at most ${MAX_WINDOW_HOURS}h`)
    .default(24),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((pairs) => Object.keys(pairs).length <= MAX_METADATA, `has more than ${MAX_METADATA} pairs`)
    .optional(),
});

interface Scheduling extends Owner {
  id: string;
  timing: Pick<Definition, "cron" | "everyMs" | "timezone">;
  settings: Settings;
  needsPrices: boolean;
}

/** Checks and stores the input of a schedule's batches. @throws InputError */
export async function batchAction(
  { inputPath, inputFileId, endpoint, window: windowHours, metadata }: z.output<typeof scheduledBatchSchema>,
  { id, timing, tenant, by, ...rules }: Scheduling,
  store: Store,
  scheduler: Scheduler,
): Promise<BatchAction> {
  if ((inputPath === undefined) === (inputFileId === undefined))
    throw new InputError("the batch of the schedule needs inputPath or inputFileId, one of them");
  const owner = tenant ?? DEFAULT_TENANT;
  const find = async (fileId: string) => readFile(store, fileId, owner);
  // The same file again is the same definition.
  const standing = await scheduler.action(id, owner);
  const stored = standing?.kind === "batch" ? await find(standing.inputFileId) : undefined;
  const file =
    inputFileId === undefined
      ? await storeInput(store, inputPath ?? "", { ...rules, tenant, by, stored })
      : await find(inputFileId);
  if (!file) throw new InputError(`there is no file "${inputFileId?.slice(0, 100)}"`, "upload it first");
  if (file.purpose !== "batch")
    throw new InputError(`the purpose of ${file.id} is "${file.purpose}", not "batch"`);
  const lines = endpoint ?? SERVED_ENDPOINTS.find((each) => each === file.check?.endpoint);
  if (lines === undefined) throw new InputError("the batch of the schedule needs an endpoint");
  requireLines(file, lines, rules);
  await keepFileUntil(store, file.id, tenant, inputLifeEnd(timing, Date.now()));
  return {
    ...{
      kind: "batch",
      inputFileId: file.id,
      filename: file.filename,
      endpoint: lines,
      windowHours,
      metadata,
    },
    needsPrices: rules.needsPrices,
  };
}
