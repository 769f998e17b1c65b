import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { ChatCompletion, ChatRequest } from "../shared/chat.ts";
import { GlueError } from "../shared/errors.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { type ResultRecord, resultRecordSchema } from "../shared/records.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";
import type { Settings } from "../shared/settings.ts";
import { readAnswerBody } from "./answer-body.ts";
import { cancelJob } from "./cancel.ts";
import { checkRequest, completionJob } from "./completion-job.ts";
import { ProducerQueues } from "./queues.ts";
import { Wakeup } from "./wakeup.ts";

/** Pub/sub may drop a message when the connection does: a look at the record every few seconds makes up for it. */
const POLL_MS = 5000;

export interface CompletionCall {
  redis: Redis;
  keys: RedisKeys;
  settings: Settings;
  model: ModelRef;
  request: ChatRequest;
  signal?: AbortSignal;
}

/**
 * Enqueues one interactive completion and waits for its result.
 * @returns the result with the answer's body.
 * @throws GlueError with the job's code and hint when it failed; the signal's reason when aborted, which also
 * cancels the job.
 */
export async function complete(call: CompletionCall): Promise<ResultRecord & { body: ChatCompletion }> {
  const { redis, keys, settings, model } = call;
  const request = checkRequest(call.request);
  const jobId = `job-${randomUUID()}`;
  const queues = new ProducerQueues(redis, keys);
  const subscriber = redis.duplicate();
  subscriber.on("error", () => {});
  try {
    await subscriber.subscribe(keys.channel);
    const job = await completionJob(redis, keys, settings, { jobId, model, request, urgency: "interactive" });
    const queue = await queues.of(model);
    await queue.add(job.name, job.data, job.opts);
    const record = await waitForRecord(call, subscriber, queue.name, jobId);
    if (record.error) throw new GlueError(record.error);
    if (!record.response) throw jobLost(jobId);
    return { ...record, body: await readAnswerBody(redis, keys, record.response.body) };
  } finally {
    subscriber.disconnect();
    await queues.close();
  }
}

async function waitForRecord(
  { redis, keys, signal }: CompletionCall,
  subscriber: Redis,
  queue: string,
  jobId: string,
): Promise<ResultRecord> {
  const wakeup = new Wakeup(subscriber, `result:${jobId}`);
  const wake = () => wakeup.wake();
  signal?.addEventListener("abort", wake);
  try {
    for (;;) {
      if (signal?.aborted) {
        // Nobody waits any more: an answer would be paid for in vain.
        await cancelJob(redis, keys, jobId);
        throw signal.reason;
      }
      // In this order: a job that has ended left its record before.
      const [addedAt, endedAt] = await redis.hmget(keys.job(queue, jobId), "timestamp", "finishedOn");
      const json = await redis.get(keys.result(jobId));
      if (json !== null) return resultRecordSchema.parse(JSON.parse(json));
      if (!addedAt || endedAt) throw jobLost(jobId);
      await wakeup.wait(POLL_MS);
    }
  } finally {
    signal?.removeEventListener("abort", wake);
  }
}

function jobLost(jobId: string): GlueError {
  return new GlueError({
    code: "job_lost",
    category: "internal",
    message: `job ${jobId} is over, or no longer in Redis, and left no result`,
    hint: "Redis was emptied, or somebody removed the job; enqueue it again",
  });
}
