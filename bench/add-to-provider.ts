/** Measures the time from a job's `add` to its arrival at the provider, one job at a time. Argument: output file for the latencies. */
import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { openRedis, startWorker } from "../src/cli/compose.ts";
import { completionJob } from "../src/producers/completion-job.ts";
import { ProducerQueues } from "../src/producers/queues.ts";
import { createLogger } from "../src/shared/logger.ts";
import { modelRef } from "../src/shared/model-name.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { arrivals, epochMs, LATENCY_JOBS, WARM_UP_JOBS } from "./arrivals.ts";

const settings = loadSettings();
const logger = createLogger({ level: "silent", json: false });
const { store } = await openRedis(settings, logger);
const { redis, keys } = store;
await startWorker({ store, settings, logger });
const model = modelRef("simulator", "latency");
const queue = await new ProducerQueues(store).of(model);

const addedAt: number[] = [];
for (let n = 0; n < WARM_UP_JOBS + LATENCY_JOBS; n++) {
  const request = { messages: [{ role: "user" as const, content: `ours ${n}` }], max_tokens: 16 };
  const jobId = `job-${n}`;
  addedAt.push(epochMs());
  const job = await completionJob(store, settings, { jobId, model, request, urgency: "interactive" });
  await queue.add(job.name, job.data, job.opts);
  while (!(await redis.exists(keys.result(jobId)))) await delay(1);
}
const seen = await arrivals(settings.providers.simulator?.baseUrl.replace("/v1", "") ?? "");
const latencies = addedAt.map((added, n) => (seen.get(`ours ${n}`) ?? 0) - added);
writeFileSync(process.argv[2] ?? "", JSON.stringify(latencies.slice(WARM_UP_JOBS)));
process.exit(0);
