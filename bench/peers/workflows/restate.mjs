/**
 * A Restate server with its data in a folder, and a service of this process that runs steps. Argument: the folder. A line `kind runs steps` on the
 * standard input is answered by the milliseconds that the runs took: `local` steps are `ctx.run`, `calls` are calls of a service that does nothing.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import * as restate from "@restatedev/restate-sdk";
import * as clients from "@restatedev/restate-sdk-clients";

const [folder] = process.argv.slice(2);
// Not the program of the package, which would outlive a signal to itself.
const packageOfServer = `@restatedev/restate-server-${process.platform}-${process.arch}`;
const SERVER = join(import.meta.dirname, "../node_modules", packageOfServer, "bin/restate-server");
const [INGRESS, ADMIN] = [port(), port()];
const leaf = restate.service({ name: "leaf", handlers: { answer: async (_ctx, n) => n } });
const bench = restate.service({
  name: "bench",
  handlers: {
    local: async (ctx, steps) => {
      for (let i = 0; i < steps; i++) await ctx.run("step", () => i);
    },
    calls: async (ctx, steps) => {
      for (let i = 0; i < steps; i++) await ctx.serviceClient(leaf).answer(i);
    },
    wide: async (ctx, steps) => {
      const answers = Array.from({ length: steps }, (_, i) => ctx.serviceClient(leaf).answer(i));
      await restate.RestatePromise.all(answers);
    },
  },
});
const endpoint = await restate.serve({ services: [leaf, bench], port: 0 });
const server = spawn(SERVER, ["--base-dir", folder, "--listen-mode", "tcp", "--no-logo"], {
  stdio: ["ignore", "ignore", "inherit"],
  env: {
    ...process.env,
    RESTATE_BIND_PORT: String(port()),
    RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${INGRESS}`,
    RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${ADMIN}`,
    RESTATE_LOG_FILTER: "error",
  },
});
once(server, "exit").then(() => process.exit(1));
process.on("exit", () => server.kill("SIGKILL"));
await registered();

const ingress = clients.connect({ url: `http://127.0.0.1:${INGRESS}` }).serviceClient({ name: "bench" });
console.log("ready");
for await (const line of createInterface(process.stdin)) {
  const [kind, runs, steps] = line.split(" ");
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: Number(runs) }, () => ingress[kind](Number(steps))));
  console.log(performance.now() - startedAt);
}
process.exit(0);

function port() {
  return 20_000 + Math.floor(Math.random() * 40_000);
}

/** The server is up, and knows the service. */
async function registered() {
  const body = JSON.stringify({ uri: `http://127.0.0.1:${endpoint}` });
  const headers = { "content-type": "application/json" };
  for (;;) {
    const reply = await fetch(`http://127.0.0.1:${ADMIN}/deployments`, {
      method: "POST",
      headers,
      body,
    }).catch(() => undefined);
    if (reply?.ok) return;
    await delay(200);
  }
}
