/**
 * One tenant with many jobs before twenty with few: first in, first out; a queue for each tenant; shares of one queue. In one run, over one
 * worker process and a provider of 0 ms. Arguments: jobs of the large tenant (default 10,000), of each small one (20).
 */
import { GlueLLM } from "../src/index.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { BenchSite } from "./site.ts";

const [large = 10_000, small = 20] = process.argv.slice(2).map(Number);
const TENANTS = 20;
const WAYS = ["first in, first out", "a queue each", "shares"] as const;

for (const way of WAYS) {
  await using site = await BenchSite.open();
  const { child, exit } = site.run(new URL("../src/cli/main.ts", import.meta.url).pathname, [
    "worker",
    "--concurrency",
    "40",
  ]);
  const settings = loadSettings({ env: site.processEnv, cwd: "/" });
  const clientOf = (name: string) =>
    new GlueLLM({
      mode: "fleet",
      settings,
      model: way === "a queue each" ? `simulator:${name}` : "simulator:bench",
      ...(way === "shares" && { tenant: name }),
    });
  const names = Array.from({ length: TENANTS }, (_, n) => `t${n}`);
  const clients = names.map(clientOf);
  const first = clientOf("large");
  await first.complete("warm up");
  const startedAt = performance.now();
  const jobs = [];
  for (let n = 0; n < large; n += 500)
    jobs.push(
      ...(await Promise.all(
        Array.from({ length: Math.min(500, large - n) }, (_, m) =>
          first.enqueue(`${n + m}`, { maxTokens: 16 }),
        ),
      )),
    );
  const addedMs = performance.now() - startedAt;
  const waits = await Promise.all(
    clients.map(async (client) => {
      const beganAt = performance.now();
      await Promise.all(
        Array.from({ length: small }, (_, n) => client.complete(`small ${n}`, { maxTokens: 16 })),
      );
      return performance.now() - beganAt;
    }),
  );
  await jobs.at(-1)?.result();
  const totalMs = performance.now() - startedAt;
  const rates = waits.map((ms) => small / ms);
  const sum = rates.reduce((all, rate) => all + rate, 0);
  const jain = sum ** 2 / (TENANTS * rates.reduce((all, rate) => all + rate ** 2, 0));
  console.log(
    `${way.padEnd(20)} small tenants done after p50 ${((waits.toSorted((a, b) => a - b)[TENANTS / 2] ?? 0) / 1000).toFixed(2)} s, last ${(Math.max(...waits) / 1000).toFixed(2)} s · Jain ${jain.toFixed(3)} · ${((large + TENANTS * small) / (totalMs / 1000)).toFixed(0)} jobs/s · ${large} added in ${(addedMs / 1000).toFixed(1)} s`,
  );
  await Promise.all([first, ...clients].map((client) => client.close()));
  child.kill();
  await exit;
}
