import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type NewApiKey, readApiKey } from "../../src/store/api-key.ts";
import { makeKey } from "../support/api.ts";
import { testStore } from "../support/redis.ts";
import { type ServedApi, serveApi, startServer } from "../support/served-api.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

let api: ServedApi;
beforeAll(async () => {
  const prices = { [MODEL]: { inputPerMillion: 1000, outputPerMillion: 1000 } };
  api = await serveApi({}, { GLUELLM_PRICES: JSON.stringify(prices) });
});
afterAll(() => api.site[Symbol.asyncDispose]());

const asking = (content: string, more: object = {}) =>
  JSON.stringify({ model: MODEL, messages: [{ role: "user", content }], ...more });
const slow = (text: string, latencyMs: number) =>
  `${text}\n#sim ${JSON.stringify({ reply: text, latencyMs })}`;
const paidFor = (text: string) =>
  api.site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(text)).length;

function post(body: string, headers: Record<string, string> = {}, signal: AbortSignal | null = null) {
  return fetch(`${api.baseURL}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${api.apiKey}`, "content-type": "application/json", ...headers },
    body,
    signal,
  });
}
/** Of an answer whose form the tests of the clients have checked. */
const json = async (response: Response | undefined) => (await response?.json()) as Record<string, never>;
const contentOf = async (response: Response) =>
  ((await json(response)) as unknown as OpenAI.ChatCompletion).choices[0]?.message.content;

describe("a request that is made again", () => {
  test("under the same Idempotency-Key is one job, paid once; another one under it is refused", async () => {
    const headers = { "idempotency-key": "order-17" };
    const answers = await Promise.all([1, 2, 3].map(() => post(asking("with a key"), headers)));
    expect(new Set(answers.map(({ headers }) => headers.get("x-gluellm-job-id"))).size).toBe(1);
    expect(new Set(await Promise.all(answers.map(contentOf))).size).toBe(1);
    expect(paidFor("with a key")).toBe(1);
    const other = await post(asking("something else"), headers);
    expect([other.status, other.headers.get("x-should-retry")]).toEqual([409, "false"]);
  });

  test("by a client that was cut off gets the answer of the first, and after that of a new one", async () => {
    const body = asking(slow("cut off", 1500));
    const gone = new AbortController();
    const first = post(body, {}, gone.signal);
    await waitFor("the call", () => paidFor("cut off") === 1);
    gone.abort();
    await expect(first).rejects.toThrow();
    const retry = await post(body, { "x-stainless-retry-count": "1" });
    expect([await contentOf(retry), paidFor("cut off")], "the same job").toEqual(["cut off", 1]);
    expect(await contentOf(await post(body)), "no retry: a request of its own").toBe("cut off");
    expect(paidFor("cut off")).toBe(2);
    await waitFor("nothing to take up", async () => {
      const late = await post(body, { "x-stainless-retry-count": "1" });
      return late.headers.get("x-gluellm-job-id") !== retry.headers.get("x-gluellm-job-id");
    });
  });

  test("by the official client after a lost answer pays once", async () => {
    let lost = false;
    const openai = new OpenAI({
      baseURL: api.baseURL,
      apiKey: api.apiKey,
      maxRetries: 2,
      fetch: async (url, init) => {
        if (lost) return fetch(url, init);
        lost = true;
        const gone = AbortSignal.timeout(700);
        return fetch(url, { ...init, signal: gone });
      },
    });
    const messages = [{ role: "user" as const, content: slow("lost on the way", 2000) }];
    const answer = await openai.chat.completions.create({ model: MODEL, messages });
    expect([answer.choices[0]?.message.content, paidFor("lost on the way")]).toEqual(["lost on the way", 1]);
  });
});

describe("a client that goes away", () => {
  const leave = async (body: string, headers: Record<string, string>) => {
    const gone = new AbortController();
    const response = await post(body, headers, gone.signal);
    const id = response.headers.get("x-gluellm-job-id") ?? "";
    gone.abort();
    return testStore(api.site.namespace).keys.result(id);
  };
  const recordAt = (key: string) => waitFor("the record", () => testStore(api.site.namespace).redis.get(key));

  test("leaves its job running", async () => {
    const key = await leave(asking(slow("go on", 3000), { stream: true }), {});
    expect(JSON.parse(String(await recordAt(key))).status).toBe("succeeded");
  });

  test("or cancels it, when it has asked for that", async () => {
    const headers = { "x-gluellm-on-disconnect": "cancel" };
    const key = await leave(asking(slow("stop", 600_000), { stream: true }), headers);
    expect(JSON.parse(String(await recordAt(key))).status).toBe("cancelled");
  });
});

describe("a key", () => {
  const keyed = async (fields: Partial<NewApiKey>) => {
    const { headers, id } = await makeKey(testStore(api.site.namespace), fields);
    // Without it a longer answer passes a limit of money by the difference.
    return { id, ask: (text: string) => post(asking(text, { max_tokens: 60 }), headers) };
  };

  test("beyond its rate waits as long as it is told", async () => {
    const { ask } = await keyed({ rpm: 2 });
    const statuses = [await ask("one"), await ask("two"), await ask("three")];
    expect(statuses.map(({ status }) => status)).toEqual([200, 200, 429]);
    const [, , refused] = statuses;
    const waitMs = Number(refused?.headers.get("retry-after-ms"));
    expect(waitMs).toBeGreaterThan(1000);
    expect(waitMs).toBeLessThanOrEqual(30_000);
    expect(refused?.headers.get("x-should-retry")).toBe("true");
    expect((await json(refused)).error).toMatchObject({ type: "rate_limit_error", code: "key_rate_limit" });
  });

  test("spends at most its money, however many ask at a time, and tells what it spent", async () => {
    const { id, ask } = await keyed({ maxCostUsd: 0.3 });
    const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => ask(`what costs ${n}`)));
    const statuses = new Set(answers.map(({ status }) => status));
    expect(statuses).toEqual(new Set([200, 402]));
    const { costUsd, spentUsd } = await testStore(api.site.namespace).redis.hgetall(
      testStore(api.site.namespace).keys.apiKey(id),
    );
    expect(Number(costUsd)).toBeGreaterThan(0);
    expect(Math.max(Number(costUsd), Number(spentUsd))).toBeLessThanOrEqual(0.3);
    const listed = JSON.parse((await api.site.run("keys", "list", "--json")).stdout);
    expect(listed.find((key: { id: string }) => key.id === id).spentUsd).toBeCloseTo(Number(costUsd), 6);
  });

  test("spends at most its money of a day and of a month, and the next day has its own", async () => {
    for (const limit of ["maxCostUsdPerDay", "maxCostUsdPerMonth"] as const) {
      const { id, ask } = await keyed({ [limit]: 0.3 });
      const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => ask(`in time ${n}`)));
      expect(new Set(answers.map(({ status }) => status)), limit).toEqual(new Set([200, 402]));
      const { error } = await json(answers.find(({ status }) => status === 402));
      expect(error).toMatchObject({ code: "cost_limit", message: expect.stringMatching(/ in 20\d\d-/) });
      const store = testStore(api.site.namespace);
      const key = await readApiKey(store, id);
      const spent = limit === "maxCostUsdPerDay" ? key?.spentUsdToday : key?.spentUsdThisMonth;
      expect(spent).toBeGreaterThan(0);
      expect(spent).toBeLessThanOrEqual(0.3);
      const [ledger = ""] = await store.redis.keys(store.keys.apiKeyPeriod(id, "20??-*"));
      expect(await store.redis.ttl(ledger)).toBeGreaterThan(0);
      await store.redis.rename(ledger, ledger.replace(/:20/, ":19"));
      expect((await ask("another time")).status).toBe(200);
    }
  });
});

test("a server that ends lets streams finish, and refuses what is new with the time to come again", {
  tags: "long",
}, async () => {
  const { baseURL, process } = await startServer(api.site);
  const send = (body: string) =>
    fetch(`${baseURL}/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${api.apiKey}`, "content-type": "application/json" },
      body,
    });
  const stream = await send(asking(slow("to the end", 4000), { stream: true }));
  process.child.kill("SIGTERM");
  await waitFor("the drain", async () => {
    const { status, headers } = await send(asking("too late"));
    if (status === 503) expect(headers.get("retry-after-ms")).toBe("1000");
    return status === 503;
  });
  expect((await fetch(new URL("/health/ready", baseURL))).status).toBe(503);
  expect(await stream.text()).toMatch(/data: \[DONE\]\n\n$/);
  expect(await process.exit).toBe(143);
});
