/** Logs: standard error, a file that is set aside when it is full, and lines that know what they are about. In your project: `from "gluellm"`. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  GlueLLM,
  getLogger,
  logFunctionCall,
  logOperation,
  logTiming,
  settings,
  setupLogging,
} from "../src/index.ts";

// What is not said here, GLUELLM_LOG_LEVEL, GLUELLM_LOG_DIR and so on say; by default the folder is `logs`.
using logging = setupLogging({
  level: "error",
  fileLevel: "debug",
  maxBytes: 1_000_000,
  backupCount: 3,
  perComponent: true,
});

const logger = getLogger("shop");
const priceOf = logFunctionCall(function priceOf(article: string) {
  return article.length * 100;
});

{
  await using glue = new GlueLLM();
  await logOperation("order", { orderId: 4711 }, async () => {
    // `orderId` is on this line, and on each one that is written until the operation ends.
    logger.info({ cents: priceOf("apples") }, "price found");
    await logTiming("answer", () => glue.complete("Thank the customer.", { requestId: "order-4711" }));
  });
}

logging.flush();
const { dir } = settings.log.file;
const lines = readFileSync(join(dir, "gluellm.log"), "utf8").trimEnd().split("\n");
const parsed = lines.map((line) => JSON.parse(line) as { msg: string; orderId?: number; requestId?: string });
console.log(`the price was found for order ${parsed.find(({ msg }) => msg === "price found")?.orderId}`);
console.log(
  `of the job: ${parsed.some(({ msg, requestId }) => msg === "job finished" && requestId === "order-4711")}`,
);
console.log(`the prompt is in the file: ${lines.some((line) => line.includes("Thank"))}`);
console.log(`a file of its own: ${existsSync(join(dir, "gluellm-shop.log"))}`);
