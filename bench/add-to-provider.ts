/** Time from `complete()` to the provider call, in one process. Argument: output file for the latencies. */
import { writeFileSync } from "node:fs";
import { openRedis, WorkerProcess } from "../src/cli/compose.ts";
import { complete } from "../src/producers/complete.ts";
import { createLogger } from "../src/shared/logger.ts";
import { modelRef } from "../src/shared/model-name.ts";
import { loadSettings } from "../src/shared/settings.ts";

const settings = loadSettings();
const logger = createLogger({ level: "silent", json: false });
await using host = await openRedis(settings, logger);
const { redis, keys, target: redisTarget } = host;
const worker = await WorkerProcess.start({ redisTarget, settings, logger });
const model = modelRef("simulator", "latency");
const journalUrl = `${settings.providers.simulator?.baseUrl.replace("/v1", "")}/_simulator/journal?since=0`;

const addedAt = new Map<string, number>();
for (let n = 0; n < 310; n++) {
  const prompt = `latency ${n}`;
  addedAt.set(prompt, performance.timeOrigin + performance.now());
  const request = { messages: [{ role: "user" as const, content: prompt }], max_tokens: 16 };
  await complete({ redis, keys, settings, model, request });
}
const reply = (await (await fetch(journalUrl)).json()) as {
  entries?: { at: number; lastUserText: string }[];
};
const entries = reply.entries ?? (reply as unknown as { at: number; lastUserText: string }[]);
const latencies = entries.flatMap(({ at, lastUserText }) => {
  const added = addedAt.get(lastUserText);
  // The first ones open connections.
  return added === undefined || Number(lastUserText.slice(8)) < 10 ? [] : [at - added];
});
writeFileSync(process.argv[2] ?? "", JSON.stringify(latencies));
await worker.close();
process.exit(0);
