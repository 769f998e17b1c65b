import { type BlobRef, blobRefSchema, completionPayloadSchema } from "../src/shared/catalog.ts";
import { fieldsOf, parseJson } from "../src/shared/json.ts";

const MAX_TEXT_CHARS = 2000;
const MAX_TITLE_CHARS = 60;

/** A job's data as a person reads it: what is asked first, long texts shortened, times as ISO 8601. */
export function readableData(data: unknown): unknown {
  const parsed = completionPayloadSchema.safeParse(data);
  if (!parsed.success) return shortened(data);
  const { kind, model, provider, fallbacks, preview, request, batch, workflow, deadlineAt, requestId } =
    parsed.data;
  const { conversation, tools } = parsed.data;
  const { waitsFor, tenant } = fieldsOf(data);
  return shortened({
    kind,
    ...(waitsFor !== undefined && { waitsFor }),
    model: `${provider.entry}:${model}`,
    ...(fallbacks && { fallbacks: fallbacks.map((next) => `${next.provider.entry}:${next.model}`) }),
    preview,
    // A text where its numbers need all their digits; here it is read, not sent.
    request: "json" in request ? parseJson(String(request.json)) : request,
    ...(workflow && { run: workflow.runId, step: workflow.step }),
    ...(batch && { batch: batch.id, line: batch.line, customId: batch.customId }),
    ...(conversation && { conversation: conversation.id, turn: conversation.position }),
    ...(tenant !== undefined && { tenant }),
    ...(tools && { tools }),
    deadline: isoTime(deadlineAt),
    requestId,
  });
}

/** A finished job's summary; nobody knows what a call cost whose model has no price. */
export function readableSummary(summary: unknown): unknown {
  const { costUsd } = fieldsOf(summary);
  return shortened(costUsd === null ? { ...fieldsOf(summary), costUsd: "unknown" } : summary);
}

/** What titles are made of: a call's words, or a run's as `run-job.ts` shows them. */
interface Titled {
  preview?: unknown;
  batch?: { line?: unknown };
  workflow?: unknown;
  run?: unknown;
  state?: unknown;
}

export interface NamedJob {
  name: string;
  data: unknown;
}

/** The line that stands for a job in lists: where it comes from and how it begins. */
export function jobTitle({ name, data }: NamedJob, showsPreview = true): string {
  const { preview, batch, workflow, run, state } = (data ?? {}) as Titled;
  if (run !== undefined) return `${workflow} · ${state}`;
  if (typeof preview !== "string" || preview === "") return name;
  const step = (workflow as { step?: unknown } | undefined)?.step;
  const place = step === undefined ? "" : `${step}: `;
  const line = batch?.line === undefined ? place : `line ${batch.line}: `;
  if (!showsPreview) return line + name;
  return line + (preview.length > MAX_TITLE_CHARS ? `${preview.slice(0, MAX_TITLE_CHARS)}…` : preview);
}

/** The same value with every long text cut and every blob reference in words; its shape stays. */
export function shortened(value: unknown): unknown {
  if (typeof value === "string") return shortText(value);
  if (Array.isArray(value)) return value.map(shortened);
  if (typeof value !== "object" || value === null) return value;
  const blob = blobRefSchema.safeParse(value);
  if (blob.success) return blobNote(blob.data);
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, shortened(child)]));
}

function shortText(text: string): string {
  const hidden = text.length - MAX_TEXT_CHARS;
  return hidden > 0
    ? `${text.slice(0, MAX_TEXT_CHARS)}… (${hidden.toLocaleString("en")} more characters)`
    : text;
}

function blobNote({ blob, bytes }: BlobRef): string {
  return `kept outside the job: ${Math.ceil(bytes / 1024).toLocaleString("en")} KiB, blob ${blob.slice(0, 12)}…`;
}

/** A payload of any origin is shown: a time outside what Date can hold stays a number. */
function isoTime(epochMs: number): string | number {
  const time = new Date(epochMs);
  return Number.isNaN(time.getTime()) ? epochMs : time.toISOString();
}
