/**
 * DBOS on a PostgreSQL. Argument: its URL. A line `local runs steps` on the standard input is answered by the milliseconds that the runs took; `calls` are
 * workflows that do nothing, started by a workflow and awaited there.
 */
import { createInterface } from "node:readline";
import { DBOS } from "@dbos-inc/dbos-sdk";

const leaf = DBOS.registerWorkflow(async (n) => n, { name: "leaf" });
const kinds = {
  local: DBOS.registerWorkflow(
    async (steps) => {
      for (let i = 0; i < steps; i++) await DBOS.runStep(async () => i, { name: "step" });
    },
    { name: "local" },
  ),
  calls: DBOS.registerWorkflow(
    async (steps) => {
      for (let i = 0; i < steps; i++) await leaf(i);
    },
    { name: "calls" },
  ),
};
// Its own parser of URLs wants a host, which the socket then replaces.
const systemDatabaseUrl = process.argv[2].replace("@/", "@localhost/");
DBOS.setConfig({ name: "bench", systemDatabaseUrl, logLevel: "error", runAdminServer: false });
await DBOS.launch();
console.log("ready");
for await (const line of createInterface(process.stdin)) {
  const [kind, runs, steps] = line.split(" ");
  const run = kinds[kind];
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: Number(runs) }, () => run(Number(steps))));
  console.log(performance.now() - startedAt);
}
process.exit(0);
