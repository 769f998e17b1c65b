import { readFileSync } from "node:fs";
import { request } from "node:http";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { serveApi } from "../support/served-api.ts";
import { MODEL } from "../support/site.ts";

const MIB = 1024 * 1024;
const LINES = 50_000;
const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n';
const tail = '\r\n--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n';

/** About 4 KiB each, 195 MiB in all. */
const line = (n: number) => {
  const body = { model: MODEL, messages: [{ role: "user", content: `${n} ${"words and 12 ".repeat(300)}` }] };
  return `${JSON.stringify({ custom_id: `row-${n}`, method: "POST", url: "/v1/chat/completions", body })}\n`;
};

test("200 MB are checked as they come: the first broken line is told long before the end, in bounded memory", async () => {
  const { site, baseURL, apiKey, process: api } = await serveApi({}, {}, false);
  await using _ = site;
  const rss = (field: "VmRSS" | "VmHWM") =>
    Number(
      new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${api.child.pid}/status`, "utf8"))?.[1],
    ) / 1024;

  async function upload(brokenAt: number, more: Record<string, string>) {
    const sending = request(`${baseURL}/files`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${apiKey}`,
        "content-type": "multipart/form-data; boundary=b",
        ...more,
      },
    });
    const answered = new Promise<{ status: number; body: Record<string, unknown>; at: number }>(
      (resolve, reject) => {
        sending.on("error", reject);
        sending.on("response", async (response) => {
          const at = performance.now();
          const body = JSON.parse(Buffer.concat(await response.toArray()).toString());
          resolve({ status: response.statusCode ?? 0, body, at });
        });
      },
    );
    let isAnswered = false;
    const answer = answered.finally(() => {
      isAnswered = true;
    });
    answer.catch(() => {});
    let brokenSentAt = 0;
    let sent = 0;
    sending.write(head);
    for (let n = 0; n < LINES && !isAnswered; n++) {
      const text = n === brokenAt ? "{broken\n" : line(n);
      sent += text.length;
      const hasRoom = sending.write(text);
      if (n === brokenAt) brokenSentAt = performance.now();
      if (n % 16 === 0) await setImmediate();
      if (!hasRoom) await Promise.race([new Promise((resolve) => sending.once("drain", resolve)), answer]);
    }
    if (!isAnswered) sending.end(tail);
    const { status, body, at } = await answer;
    sending.destroy();
    return { status, body, sent, toldMs: at - brokenSentAt };
  }

  const before = rss("VmRSS");
  const startedAt = performance.now();
  const whole = await upload(LINES - 2, {});
  const seconds = (performance.now() - startedAt) / 1000;
  const more = rss("VmHWM") - before;
  expect([whole.status, whole.body.status]).toEqual([200, "error"]);
  expect(whole.body.status_details).toMatch(new RegExp(`^line ${LINES - 1}: `));
  expect(whole.sent).toBeGreaterThan(190 * MIB);

  const refused = await upload(LINES / 2, { "x-gluellm-on-line-error": "refuse" });
  expect(refused.status).toBe(400);
  expect(refused.sent).toBeLessThan(150 * MIB);
  console.log(
    `${Math.round(whole.sent / MIB)} MiB in ${seconds.toFixed(1)} s; the end ${Math.round(whole.toldMs)} ms after a broken line near it; ` +
      `refused ${Math.round(refused.toldMs)} ms after the line; RSS ${Math.round(before)} MiB, + ${Math.round(more)} MiB`,
  );
  expect(more).toBeLessThan(64);
}, 300_000);
