import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { runCli, startCli } from "../support/cli.ts";
import { anthropicRequest, post } from "../support/simulated-provider.ts";
import { waitFor } from "../support/wait-for.ts";

test("gluellm simulate takes limits of input and output tokens and the charge policy", async () => {
  const limits = ["--itpm", "6000", "--otpm", "60000", "--charge", "requested"];
  const run = startCli(["simulate", "--port", "0", "--latency", "0", ...limits], {}, tmpdir());
  onTestFinished(async () => {
    run.child.kill("SIGKILL");
    await run.exit;
  });
  const [url] = await waitFor("its address", () => /http:\/\/127\.0\.0\.1:\d+/.exec(run.stdout()));
  const { headers } = await post(`${url}/v1/messages`, anthropicRequest("four"));
  expect(Object.fromEntries(headers)).toMatchObject({
    "anthropic-ratelimit-input-tokens-limit": "6000",
    "anthropic-ratelimit-input-tokens-remaining": "99",
    "anthropic-ratelimit-output-tokens-limit": "60000",
    "anthropic-ratelimit-output-tokens-remaining": "500",
  });
});

test("gluellm simulate refuses a charge policy that it does not know", async () => {
  const { code, stderr } = await runCli(["simulate", "--charge", "guessed"], {}, tmpdir());
  expect(code).toBe(2);
  expect(stderr).toContain("used, requested");
});
