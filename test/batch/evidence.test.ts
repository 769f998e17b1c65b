import { describe, expect, test } from "vitest";
import { NO_CHOICE, type OddAnswer, type OddCall, oddSite } from "../support/odd-provider.ts";

const DOWN: OddAnswer = { status: 500, body: { error: { message: "marked", type: "server_error" } } };
const BAD: Record<string, OddAnswer> = { status: DOWN, cut: "drop", hanging: "hang", empty: NO_CHOICE };
const answerOf = ({ prompt }: OddCall): OddAnswer => BAD[prompt] ?? "fine";
const good = (count: number) => Array.from({ length: count }, (_, n) => `good ${n}`);

describe.concurrent("a row that always fails", () => {
  test.each([
    ["beside others", "50", [...Object.keys(BAD), ...good(30)]],
    ["one at a time, at the end", "1", [...good(3), "status"]],
    ["alone", "1", ["cut"]],
  ])("ends after its attempts: %s", async (_, concurrency, prompts) => {
    const env = { GLUELLM_WORKER_CONCURRENCY: concurrency, GLUELLM_CALL_TIMEOUT_MS: "500" };
    await using odd = await oddSite(answerOf, env);
    const bad = prompts.filter((prompt) => prompt in BAD);
    expect(await odd.batch(prompts)).toMatchObject({ status: "completed", failed: bad.length });
    const callsOf = (prompt: string) => odd.calls.filter((call) => call.prompt === prompt).length;
    for (const prompt of prompts) {
      expect([prompt, callsOf(prompt)]).toEqual([
        prompt,
        prompt === "empty" ? 2 : bad.includes(prompt) ? 12 : 1,
      ]);
    }
    const failed = odd.site.read("out.errors.jsonl") as { custom_id: string; error: { attempts: number } }[];
    expect(failed.map(({ custom_id, error }) => [custom_id, error.attempts])).toEqual(
      bad.map((prompt) => [prompt, prompt === "empty" ? 2 : 12]),
    );
  });

  test("does not hold up the others after an outage, in which nobody loses an attempt", async () => {
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
