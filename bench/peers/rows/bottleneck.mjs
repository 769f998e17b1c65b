/** Bottleneck in one process: calls at even spacing; a refused one comes again as its README shows, after what the provider said. */
import Bottleneck from "bottleneck";
import { append, CONCURRENCY, PER_MINUTE, RETRIES, rowsToDo } from "./files.mjs";
import { complete } from "./openai.mjs";

const minTime = PER_MINUTE ? 60_000 / PER_MINUTE : 0;
const limiter = new Bottleneck({ maxConcurrent: CONCURRENCY, minTime });
limiter.on("failed", (error, { retryCount }) => {
  if (retryCount < RETRIES) return Number(error.headers?.get("retry-after-ms") ?? 1000);
});
await Promise.allSettled(
  rowsToDo().map((row) => limiter.schedule(async () => append(row, await complete(row, 0)))),
);
