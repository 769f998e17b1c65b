/** A bare BullMQ worker that does nothing. Argument: its queue. */
import { Worker } from "bullmq";
import { Redis } from "ioredis";

const path = process.env.GLUELLM_REDIS_URL?.replace("unix://", "") ?? "";
const connection = new Redis({ path, maxRetriesPerRequest: null });
new Worker(process.argv[2] ?? "", async () => ({ done: true }), { connection, concurrency: 50 });
