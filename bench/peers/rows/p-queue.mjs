/** `p-queue` with as many starts per second as the limit allows. */
import PQueue from "p-queue";
import { append, CONCURRENCY, PER_MINUTE, rowsToDo } from "./files.mjs";
import { complete } from "./openai.mjs";

const rate = PER_MINUTE ? { interval: 1000, intervalCap: PER_MINUTE / 60 } : {};
const queue = new PQueue({ concurrency: CONCURRENCY, ...rate });
await Promise.allSettled(rowsToDo().map((row) => queue.add(async () => append(row, await complete(row)))));
