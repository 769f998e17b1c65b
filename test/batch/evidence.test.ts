import { afterAll, describe, expect, test } from "vitest";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { NO_CHOICE, type OddAnswer, type OddCall, type OddSite, oddSite } from "../support/odd-provider.ts";
import { testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());

const DOWN: OddAnswer = { status: 500, body: { error: { message: "marked", type: "server_error" } } };
const BAD: Record<string, OddAnswer> = { status: DOWN, cut: "drop", hanging: "hang", empty: NO_CHOICE };
const answerOf = ({ prompt }: OddCall): OddAnswer => BAD[prompt] ?? "fine";
const good = (count: number) => Array.from({ length: count }, (_, n) => `good ${n}`);

describe.concurrent("a row that always fails", () => {
  test.each([
    ["beside others", "50", ["status", "cut", "empty", ...good(30)]],
    ["one at a time, at the end", "1", [...good(3), "status"]],
    ["alone", "1", ["cut"]],
  ])("ends after its attempts: %s", async (_, concurrency, prompts) => {
    await using odd = await oddSite(answerOf, { GLUELLM_WORKER_CONCURRENCY: concurrency });
    const bad = prompts.filter((prompt) => prompt in BAD);
    expect(await odd.batch(prompts)).toMatchObject({ status: "completed", failed: bad.length });
    const attemptsAt = (prompt: string) => (prompt === "empty" ? 2 : bad.includes(prompt) ? 12 : 1);
    for (const prompt of prompts) {
      const calls = odd.calls.filter((call) => call.prompt === prompt);
      // A connection that broke before it was used is an attempt that nobody saw.
      const seen = calls.map(({ ofPrompt }) => ofPrompt).at(-1);
      expect([attemptsAt(prompt), prompt === "cut" ? attemptsAt(prompt) - 1 : seen], prompt).toContain(seen);
    }
    const failed = odd.site.read("out.errors.jsonl") as { custom_id: string; error: { attempts: number } }[];
    expect(failed.map(({ custom_id, error }) => [custom_id, error.attempts])).toEqual(
      bad.map((prompt) => [prompt, attemptsAt(prompt)]),
    );
  });

  test("ends after its attempts: without an answer", { tags: "long" }, async () => {
    await using odd = await oddSite(answerOf, { GLUELLM_CALL_TIMEOUT_MS: "1500" });
    expect(await odd.batch(["hanging", ...good(3)])).toMatchObject({ status: "completed", failed: 1 });
    expect(odd.calls.filter(({ prompt }) => prompt === "hanging")).toHaveLength(12);
  });

  test.each(["1", "50"])(
    "does not keep the others from their calls when it is limited, %s at a time",
    async (concurrency) => {
      const limited = refusal(429, "Rate limit reached");
      await using odd = await oddSite(({ prompt }) => (prompt === "limited" ? limited : "fine"), {
        GLUELLM_WORKER_CONCURRENCY: concurrency,
      });
      expect(await odd.batch(["limited", ...good(20)])).toMatchObject({ status: "completed", failed: 1 });
      expect(odd.calls.filter(({ prompt }) => prompt === "limited")).toHaveLength(12);
      expect(odd.site.read("out.errors.jsonl")).toMatchObject([{ error: { code: "rate_limit" } }]);
    },
  );

  test("that is limited waits with all others while none is answered", async () => {
    const limited = refusal(429, "Rate limit reached");
    await using odd = await oddSite(({ ofAll }) => (ofAll <= 30 ? limited : "fine"));
    expect(await odd.batch(good(5))).toMatchObject({ status: "completed", failed: 0, succeeded: 5 });
  });

  test("has the time that its batch gives it", async () => {
    await using odd = await oddSite(answerOf);
    const inputPath = odd.site.write("in.jsonl", [{ prompt: "hanging" }]);
    const options = { inputPath, outputPath: odd.site.path("out.jsonl"), timeoutMs: 50 };
    expect(await (await odd.glue.batches.run(options)).report()).toMatchObject({ failed: 1 });
    const call = odd.glue.complete("hanging", { timeoutMs: 60, maxAttempts: 1 });
    await expect(call).rejects.toThrow("did not finish its answer within 0.06 s");
  });

  test.each([
    ["ends after its attempts as the last one, when the provider answers something else", false],
    ["has all its attempts left after an outage, though it is the last one", true],
  ])("%s", async (_, isOutage) => {
    let asks = 0;
    const answer = ({ prompt }: OddCall): OddAnswer => {
      if (prompt === "last") asks += 1;
      // An outage begins with the row, and outlasts the attempts that it has.
      const isDown = isOutage && asks > 0 && asks <= 12;
      return isDown || (prompt === "last" && !isOutage) ? DOWN : "fine";
    };
    await using odd = await oddSite(answer, {
      GLUELLM_CIRCUIT_BREAKER_COOLDOWN_MS: "100",
      GLUELLM_CIRCUIT_BREAKER_QUIET_MS: "400",
      GLUELLM_RETRY_MIN_WAIT: "0.1",
      GLUELLM_RETRY_MAX_WAIT: "0.2",
      GLUELLM_WORKER_CONCURRENCY: "1",
    });
    expect(await odd.batch([...good(3), "last"])).toMatchObject({
      status: "completed",
      failed: isOutage ? 0 : 1,
    });
    const asked = (prompt: string) => odd.calls.filter((call) => call.prompt === prompt).length;
    expect(asked("ping")).toBeGreaterThan(0);
    if (isOutage) return expect(asked("last")).toBeGreaterThan(12);
    expect(odd.site.read("out.errors.jsonl")).toMatchObject([{ error: { attempts: 12 } }]);
  });

  test("does not hold up the others after an outage, in which nobody loses an attempt", {
    tags: "long",
  }, async () => {
    const env = { GLUELLM_CIRCUIT_BREAKER_COOLDOWN_MS: "100", GLUELLM_WORKER_CONCURRENCY: "1" };
    const isDown = ({ ofAll }: OddCall) => ofAll > 3 && ofAll <= 20;
    await using odd = await oddSite((call) => (isDown(call) ? DOWN : answerOf(call)), env);
    const prompts = ["status", ...good(12)];
    expect(await odd.batch(prompts)).toMatchObject({ status: "completed", failed: 1, succeeded: 12 });
    const probed = odd.calls.slice(13, 20).map(({ prompt }) => prompt);
    expect(new Set(probed).size, "the probes are of different rows").toBeGreaterThan(3);
    expect(odd.site.read("out.errors.jsonl")).toMatchObject([
      { custom_id: "status", error: { attempts: 12 } },
    ]);
  });
});

const refusal = (status: number, message: string): OddAnswer => ({ status, body: { error: { message } } });
const REVOKED = refusal(401, "Incorrect API key provided");
const REFUSALS: Record<string, OddAnswer> = {
  "401": REVOKED,
  "402": refusal(402, "This request requires more credits, or fewer max_tokens"),
  "403": {
    status: 403,
    body: "<html><title>403 Forbidden</title></html>",
    headers: { "content-type": "text/html" },
  },
  "404": refusal(404, "No endpoints found that support image input"),
};
/** What a provider said may quote a prompt: it stands where results do, not on jobs or where dashboards look. */
async function expectOnlyIn({ site }: OddSite, text: string, places: string[]): Promise<void> {
  const found: string[] = [];
  for (const key of await redis.keys(`*{gluellm:${site.namespace}}*`)) {
    const dump = await redis.dumpBuffer(key);
    if (dump?.includes(text)) found.push(key);
  }
  expect(found.filter((key) => !places.some((place) => key.includes(place)))).toEqual([]);
}

type Line = { custom_id: string; error: { code: string; message: string; provider_message: string } };

describe.concurrent("a row that is refused as an account is", () => {
  test.each(Object.keys(REFUSALS).map((status) => [status, status === "403" ? "1" : "50"]))(
    "fails with what the provider said, when later calls succeed: %s",
    async (status, concurrency) => {
      const env = { GLUELLM_WORKER_CONCURRENCY: concurrency };
      await using odd = await oddSite(({ prompt }) => REFUSALS[prompt] ?? "fine", env);
      expect(await odd.batch([...good(4), status, ...good(24).slice(4)])).toMatchObject({
        status: "completed",
        succeeded: 24,
        failed: 1,
      });
      const [failed] = odd.site.read("out.errors.jsonl") as unknown as Line[];
      expect(failed).toMatchObject({ custom_id: status, error: { attempts: 1 } });
      expect(failed?.error.message).toContain(`answered ${status} to this row`);
      const said = status === "403" ? "403 Forbidden" : /provided|credits|image input/;
      expect(failed?.error.provider_message).toMatch(said);
      expect(odd.calls).toHaveLength(25);
      await expectOnlyIn(odd, "credits", []);
    },
  );

  test("fails too when the others were on their way already and nothing is left to show more", async () => {
    const answer = async ({ prompt }: OddCall) => {
      if (prompt === "403") {
        await waitFor("the others to be on their way", () => odd.calls.length === 6);
        return REFUSALS["403"] as OddAnswer;
      }
      const refused = redisKeys(odd.site.namespace).refused("odd:a");
      await waitFor("the row to be held", async () => (await redis.hlen(refused)) === 1);
      return "fine";
    };
    await using odd: OddSite = await oddSite(answer);
    expect(await odd.batch(["403", ...good(5)])).toMatchObject({ status: "completed", failed: 1 });
  });

  test("stops the batch as its last row: unsent and named, and the same run goes on", async () => {
    const isMended = { value: false };
    const answer = ({ prompt }: OddCall) => (prompt === "404" && !isMended.value ? REFUSALS["404"] : "fine");
    await using odd = await oddSite((call) => answer(call) as OddAnswer, { GLUELLM_WORKER_CONCURRENCY: "1" });
    const report = await odd.batch([...good(5), "404"]);
    expect(report).toMatchObject({ status: "failed", succeeded: 5, failed: 0 });
    expect(report.error).toMatchObject({ code: "model_not_found", category: "account" });
    expect(report.error?.message).toContain('odd:a refused "404" (line 6)');
    expect(report.error?.hint).toContain("take them out of the input");
    expect(report.providerMessage).toContain("image input");
    await expectOnlyIn(odd, "image input", [":refused:"]);
    isMended.value = true;
    expect(await odd.batch([...good(5), "404"])).toMatchObject({ status: "completed", succeeded: 6 });
    expect(odd.calls).toHaveLength(7);
  });
});

describe.concurrent("an account that is refused", () => {
  test.each([
    ["from the start", "1", 0],
    ["in mid-run", "1", 12],
    ["in mid-run, with calls on their way", "20", 12],
  ])("stops the batch at the third row, none of them failed: %s", async (_, concurrency, paid) => {
    const answer = ({ ofAll }: OddCall) => (ofAll > paid ? REVOKED : "fine");
    await using odd = await oddSite(answer, { GLUELLM_WORKER_CONCURRENCY: concurrency });
    const report = await odd.batch(good(100));
    expect(report).toMatchObject({ status: "failed", total: 100, succeeded: paid, failed: 0 });
    expect(report.error?.message).toMatch(/the key is refused; odd:a refused "good \d+" \(line \d+\), "good/);
    expect(odd.calls.length).toBeGreaterThanOrEqual(paid + 3);
    expect(odd.calls.length).toBeLessThanOrEqual(paid + (concurrency === "1" ? 3 : 40));
  });

  test("for one model leaves the rows of another alone", async () => {
    await using odd = await oddSite(({ model }) => (model === "b" ? (REFUSALS["404"] ?? "fine") : "fine"));
    const prompts = good(40);
    const models = prompts.map((_, i) => (i % 8 === 0 ? "odd:b" : "odd:a"));
    const report = await odd.batch(prompts, { models });
    expect(report).toMatchObject({ status: "failed", succeeded: 35, failed: 0 });
    expect(report.error?.message).toContain('odd:b refused "good ');
    expect(odd.calls.filter(({ model }) => model === "b").length).toBeLessThanOrEqual(5);
  });
});
