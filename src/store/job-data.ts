import type { Job } from "bullmq";
import { SEALED_ACTIVITY_VERSION, SEALED_PAYLOAD_VERSION } from "../shared/catalog.ts";
import { parseJson } from "../shared/json.ts";
import { isBlobRef } from "./blobs.ts";
import { openFields, sealFields } from "./sealed-fields.ts";
import type { Store } from "./store.ts";

/*
 * What BullMQ has of a job, its `data`: with encryption on, what it says and asks lies in `sealed`, and a higher version keeps
 * workers from it that do not know of that.
 */

const SEALED = ["v", "request", "preview", "context", "output", "outputCheck", "trim", "wire", "input"];
const KIND = "data of job";

/** Returns a job's data as BullMQ gets it. A reference to a blob says nothing: it stays, for who releases the blob. */
export async function sealJobData<T extends object>(store: Store, jobId: string, data: T): Promise<T> {
  // What is encrypted already stays as it is, whoever has it.
  if (!store.sealing.isOn || "sealed" in data) return data;
  const isOpen = (name: string, value: unknown) => !SEALED.includes(name) || isBlobRef(value);
  const sealed = await sealFields(store, { kind: KIND, id: jobId }, data, isOpen);
  const v = "activity" in data ? SEALED_ACTIVITY_VERSION : SEALED_PAYLOAD_VERSION;
  return { v, ...sealed } as T;
}

/** Returns a job's data in clear. @throws GlueError `encryption_key_missing`, `corrupt_data` */
export function openJobData(store: Store, jobId: string, data: unknown): Promise<unknown> {
  return openFields(store, { kind: KIND, id: jobId }, data);
}

/** As `openJobData`, of the text that BullMQ has. */
export function openJobText(store: Store, jobId: string, text: string | null | undefined): Promise<unknown> {
  return openJobData(store, jobId, parseJson(text ?? "null"));
}

/** Gives BullMQ other data of a job that this process has. */
export async function updateJobData(store: Store, job: Job, data: object): Promise<void> {
  await job.updateData(await sealJobData(store, job.id ?? "", data));
  job.data = data;
}
