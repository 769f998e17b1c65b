import { createHash, randomUUID } from "node:crypto";
import type { Queue } from "bullmq";
import { canonicalJson } from "../shared/canonical-json.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import type { ChatRequest } from "../shared/chat.ts";
import { InputError } from "../shared/errors.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { type ModelRef, modelRef } from "../shared/model-name.ts";
import { ROUTE_QUEUE } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { isBlobRef, readBlobText } from "../store/blobs.ts";
import { jobKey } from "../store/bullmq-internals.ts";
import { forkJournal } from "../store/fork-journal.ts";
import { sealJobData } from "../store/job-data.ts";
import type { Store } from "../store/store.ts";
import { checkRequest, completionJob } from "./completion-job.ts";
import { dropJob, payloadOf } from "./dead-letters.ts";
import type { ProducerQueues } from "./queues.ts";

/** How a replay differs from the job that failed. */
export interface JobChange {
  model?: ModelRef | undefined;
  /** Fields of the request (messages, temperature …) that take the place of its own; null takes one away. */
  edit?: Readonly<Record<string, unknown>> | undefined;
}

/** With another question, an answer that was paid is none any more. */
const OF_THE_QUESTION = ["messages", "tools", "response_format"];

/**
 * Makes a new job of a failed one, with another model or request, and takes the failed one out of its queue. What that has finished is
 * kept, unless the question is another one. The same change again makes the same job.
 * @returns the new job's id
 * @throws InputError (`not_replayable`) when it cannot be changed, or as `checkRequest`
 */
export async function forkJob(
  { store, settings, queues }: { store: Store; settings: Settings; queues: ProducerQueues },
  queue: Queue,
  jobId: string,
  { model, edit = {} }: JobChange,
): Promise<string> {
  const [payload, job] = await Promise.all([payloadOf(store, queue.name, jobId), queue.getJob(jobId)]);
  if (!payload || !job || !(await job.isFailed()))
    throw cannot(jobId, "it has not failed, or has left its queue");
  if (payload.batch || payload.workflow) throw cannot(jobId, "it is part of a batch or a run");
  if (payload.conversation) throw cannot(jobId, "it is a turn of a conversation, which is replayed as it is");
  const id = idOf({ jobId, failedAt: job.finishedOn ?? 0, model: model?.key ?? null, edit });
  const own = modelRef(payload.provider.entry, payload.model);
  const fallbacks = model
    ? undefined
    : payload.fallbacks?.map((next) => modelRef(next.provider.entry, next.model));
  const made = await completionJob(store, settings, {
    ...payload,
    ...{ jobId: id, model: model ?? own, fallbacks, alike: model ? undefined : payload.alike },
    ...{
      request: edited(await requestOf(store, payload), edit),
      urgency: "interactive",
      requestId: randomUUID(),
    },
    ...{ priority: job.opts.priority ?? 0, conversation: undefined, batch: undefined, workflow: undefined },
  });
  const target = await (fallbacks ? queues.registered(ROUTE_QUEUE) : queues.of(model ?? own));
  const isSameQuestion = !OF_THE_QUESTION.some((field) => field in edit);
  if (isSameQuestion) await forkJournal(store, jobId, { id, jobKey: jobKey(store, target.name, id) });
  const data = await sealJobData(store, id, { ...made.data, forkOf: jobId });
  await target.add(made.name, data, made.opts);
  // A caller that is killed before this makes no second job: its id is made of the failure and the change.
  await dropJob(store, queue, jobId);
  return id;
}

/** Returns the request of a payload, with the digits of its numbers. */
export async function requestOf(store: Store, { request }: CompletionPayload): Promise<ChatRequest> {
  if (isBlobRef(request)) return parseExactly(await readBlobText(store, request)) as ChatRequest;
  const isText = "json" in request && typeof request.json === "string";
  return (isText ? parseExactly(String(request.json)) : request) as ChatRequest;
}

function edited(request: ChatRequest, edit: Readonly<Record<string, unknown>>): ChatRequest {
  if (Object.keys(edit).length === 0) return request;
  const fields = Object.entries({ ...request, ...edit }).filter(([, value]) => value !== null);
  return checkRequest(Object.fromEntries(fields));
}

function idOf(of: unknown): string {
  const hex = createHash("sha256").update(canonicalJson(of)).digest("hex");
  return `job-${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function cannot(jobId: string, why: string): InputError {
  return new InputError(
    `job ${jobId} cannot be replayed with a change: ${why}`,
    "gluellm dlq show says what it is",
    "not_replayable",
  );
}
