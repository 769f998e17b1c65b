/** A BullMQ queue with its documented rate limiter, and its documented way to obey a 429. Jobs survive the process. */
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { append, CONCURRENCY, PER_MINUTE, RETRIES, rowsToDo } from "./files.mjs";
import { complete } from "./openai.mjs";

const connection = new Redis({ path: process.env.REDIS_SOCKET, maxRetriesPerRequest: null });
const queue = new Queue("rows", { connection });
const rows = rowsToDo();
const missing = new Set(rows.map((row) => row.custom_id));
const finished = Promise.withResolvers();
const events = new QueueEvents("rows", { connection: connection.duplicate() });
const end = ({ jobId }) => missing.delete(jobId) && missing.size === 0 && finished.resolve();
events.on("completed", end).on("failed", end);
await events.waitUntilReady();
const opts = (row) => ({ jobId: row.custom_id, attempts: RETRIES, removeOnComplete: { count: 1000 } });
for (let i = 0; i < rows.length; i += 500)
  await queue.addBulk(rows.slice(i, i + 500).map((row) => ({ name: "row", data: row, opts: opts(row) })));

const answer = async ({ data: row }) => {
  try {
    append(row, await complete(row, 0));
  } catch (error) {
    if (error.status !== 429) throw error;
    await queue.rateLimit(Math.ceil(Number(error.headers.get("retry-after-ms"))));
    throw Worker.RateLimitError();
  }
};
const limiter = PER_MINUTE ? { limiter: { max: PER_MINUTE / 60, duration: 1000 } } : {};
new Worker("rows", answer, { connection, concurrency: CONCURRENCY, ...limiter });
await finished.promise;
process.exit(0);
