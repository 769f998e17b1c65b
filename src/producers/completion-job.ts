import { randomUUID } from "node:crypto";
import type { JobsOptions } from "bullmq";
import type { Redis } from "ioredis";
import { inlineOrBlob } from "../shared/blobs.ts";
import { type CompletionPayload, jobCatalog, type Urgency } from "../shared/catalog.ts";
import { type ChatRequest, chatRequestSchema, MAX_REQUEST_BYTES, previewOf } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { fingerprint } from "../shared/providers.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";
import type { Settings } from "../shared/settings.ts";

export interface CompletionJob {
  name: string;
  data: CompletionPayload;
  opts: JobsOptions & { jobId: string };
}

/** What a job may have otherwise than its urgency says. */
export interface JobOptions {
  /** Lower comes first, from 0. */
  priority?: number;
  /** No attempt starts before. */
  delayMs?: number;
  /** No attempt starts later, counted from the end of the delay. */
  deadlineMs?: number;
  maxAttempts?: number;
}

export interface CompletionJobInput extends JobOptions {
  jobId: string;
  model: ModelRef;
  request: ChatRequest;
  urgency: Urgency;
  batch?: CompletionPayload["batch"];
  workflow?: CompletionPayload["workflow"];
}

/** The job of a checked request. A request over 16 KB is put into a blob that the job refers to. */
export async function completionJob(
  redis: Redis,
  keys: RedisKeys,
  settings: Settings,
  input: CompletionJobInput,
): Promise<CompletionJob> {
  const { jobId, model, request, batch, workflow, delayMs = 0 } = input;
  const rules = jobCatalog.completion[input.urgency];
  const entry = settings.providers[model.entry];
  if (!entry) throw new InputError(`unknown provider "${model.entry}"`);
  return {
    name: "completion",
    data: {
      v: jobCatalog.completion.version,
      kind: "completion",
      requestId: randomUUID(),
      provider: { entry: model.entry, fingerprint: fingerprint(entry) },
      model: model.model,
      request: await inlineOrBlob(redis, keys, jobId, request),
      preview: previewOf(request),
      deadlineAt: Date.now() + delayMs + (input.deadlineMs ?? rules.deadlineMs),
      batch,
      workflow,
    },
    opts: {
      jobId,
      priority: input.priority ?? rules.priority,
      delay: delayMs,
      attempts: input.maxAttempts ?? settings.retry.maxAttempts ?? rules.attempts,
      // The worker's strategy reads the delay from the error: the verdict has it.
      backoff: { type: "verdict" },
    },
  };
}

/** @throws InputError naming the field that is wrong, or the size when the request is over 20 MiB. */
export function checkRequest(value: unknown): ChatRequest {
  const parsed = chatRequestSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new InputError(`the request is wrong at ${issue?.path.join(".") || "its top"}: ${issue?.message}`);
  }
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > MAX_REQUEST_BYTES) {
    throw new InputError(
      `the request has ${bytes} bytes; the limit is ${MAX_REQUEST_BYTES}`,
      "send less context",
    );
  }
  return parsed.data;
}
