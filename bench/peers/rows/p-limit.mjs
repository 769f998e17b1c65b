/** The floor: `p-limit` and the SDK, which retries. It knows nothing of limits. */
import pLimit from "p-limit";
import { append, CONCURRENCY, rowsToDo } from "./files.mjs";
import { complete } from "./openai.mjs";

const limit = pLimit(CONCURRENCY);
await Promise.allSettled(rowsToDo().map((row) => limit(async () => append(row, await complete(row)))));
