/**
 * One process of a fleet: callers that send as fast as their gate lets them. Argument: `SenderOrder` as JSON. It
 * prints a line when it is ready, starts at the first line on its standard input, and runs until it is killed.
 */
import { once } from "node:events";
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type Gate, openGate, type Reply } from "./gates.ts";
import { drawTokens, messageOf } from "./load.ts";
import type { SenderOrder } from "./sender-order.ts";

type NamedGate = Gate & { name: string };

const order = JSON.parse(process.argv[2] ?? "") as SenderOrder;
const agent = new Agent({ keepAlive: true });
const gates = await Promise.all(
  Array.from({ length: order.simulated ?? 1 }, async (_, i) => ({
    name: `${process.pid}.${i}`,
    ...(await openGate(order)),
  })),
);
console.log("ready");
await once(process.stdin, "data");
await Promise.all(gates.map((gate) => run(gate)));

async function run(gate: NamedGate): Promise<void> {
  if (gate.work) await gate.work((tokens) => post(gate, tokens, 0));
  else await Promise.all(Array.from({ length: order.slots }, () => runCaller(gate)));
}

async function runCaller(gate: NamedGate): Promise<void> {
  for (;;) await sendUntilAccepted(gate, drawTokens(order.sizes));
}

/** The wait until its last attempt goes with each request into the provider's journal. */
async function sendUntilAccepted(gate: NamedGate, tokens: number): Promise<void> {
  const wishedAt = performance.now();
  const estimate = Math.ceil(tokens * order.estimateFactor);
  for (let attempt = 1; ; attempt++) {
    const call = () => post(gate, tokens, performance.now() - wishedAt);
    const reply = await gate.send({ estimate, tokens }, call);
    if (reply.status !== 429) return;
    await delay(gate.backoffMs(attempt, reply.retryAfterMs));
  }
}

function post({ name }: NamedGate, tokens: number, waitedMs: number): Promise<Reply> {
  const content = messageOf(`${name} ${Math.round(waitedMs)}`, tokens);
  const body = JSON.stringify({ model: order.name, messages: [{ role: "user", content }] });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const url = `${order.providerUrl}/v1/chat/completions`;
    request(url, { method: "POST", agent, headers }, (response) => {
      const retryAfterMs = Number(response.headers["retry-after-ms"] ?? 0);
      response.resume().on("end", () => resolve({ status: response.statusCode ?? 0, retryAfterMs }));
    })
      .on("error", reject)
      .end(body);
  });
}
