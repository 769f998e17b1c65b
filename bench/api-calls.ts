/**
 * `POST /v1/chat/completions` of a served API, 100 calls at a time. Arguments: how many calls, output file for the figures, the
 * API's address with `/v1`, a key.
 */
import { writeFileSync } from "node:fs";
import { Agent, request } from "undici";
import { callsAtATime, cpuSince, sumQuestion } from "./calls.ts";

const [count = "", output = "", url = "", key = ""] = process.argv.slice(2);
const dispatcher = new Agent({ connections: 100 });
const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
const call = async (n: number) => {
  const messages = [{ role: "user", content: sumQuestion(n) }];
  const body = JSON.stringify({ model: "simulator:bench", messages, max_tokens: 16 });
  const answer = await request(`${url}/chat/completions`, { method: "POST", dispatcher, headers, body });
  const { choices } = (await answer.body.json()) as { choices?: { message: { content: string } }[] };
  return choices?.[0]?.message.content;
};
await call(-1);
const cpuMs = cpuSince();
const durationMs = await callsAtATime(100, Number(count), call);
writeFileSync(output, JSON.stringify({ total: Number(count), durationMs, cpuMs: cpuMs() }));
