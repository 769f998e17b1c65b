import { Redis } from "ioredis";
import { BenchSite } from "./site.ts";

const ROWS = 10_000;
const CALL_MS = 5000;

/** Measures what the response cache costs rows that do not repeat, and saves of those that do. */
export async function cache(): Promise<void> {
  await using site = await BenchSite.open();
  const redis = new Redis({ path: site.socketPath });
  const commands = async () =>
    Number(/total_commands_processed:(\d+)/.exec(await redis.info("stats"))?.[1] ?? 0);
  const measure = async (title: string, input: string, ...options: string[]) => {
    const before = await commands();
    const { total, durationMs, cacheHits } = await site.batch(input, `${title}.jsonl`, ...options).report;
    const perRow = ((await commands()) - before) / total;
    const seconds = (durationMs / 1000).toFixed(1);
    console.log(
      `  ${title.padEnd(28)} ${String(total - cacheHits).padStart(6)} calls ${seconds.padStart(6)} s ${perRow.toFixed(1).padStart(6)} Redis commands per row`,
    );
  };
  console.log(`\nThe response cache, ${ROWS} rows, 0 ms provider`);
  const distinct = site.writeRows("distinct.jsonl", ROWS);
  await measure("no repeats, --no-cache", distinct, "--no-cache");
  await measure("no repeats, --cache", distinct, "--cache");
  const repeating = site.writeRows("repeating.jsonl", ROWS, (n) => `Repeated question ${n % (0.3 * ROWS)}`);
  await measure("70 % repeats, --no-cache", repeating, "--no-cache");
  await measure("70 % repeats, --cache", repeating, "--cache");
  const slow = `One question\n#sim {"latencyMs": ${CALL_MS}}`;
  const crowd = site.writeRows("crowd.jsonl", ROWS, () => slow);
  await measure(`all equal, a call of ${CALL_MS / 1000} s`, crowd, "--cache");
  redis.disconnect();
}
