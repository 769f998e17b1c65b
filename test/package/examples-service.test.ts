import { join } from "node:path";
import { expect, test } from "vitest";
import { bareMachine } from "../support/bare-machine.ts";
import { exampleSite } from "../support/examples.ts";
import { startNode } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";

const { dataDir } = exampleSite();
const SERVICE = join(import.meta.dirname, "../../examples/production-service.ts");

test("the production service answers, tells errors in friendly words, has the request's id in its log, and ends when told", async () => {
  const { env } = await bareMachine(dataDir, {
    faults: JSON.stringify({ script: [{ match: "wrong key", fault: "401" }] }),
  });
  const service = startNode([SERVICE, "0"], {
    env: {
      ...env,
      GLUELLM_LOG_LEVEL: "info",
      GLUELLM_LOG_JSON_FORMAT: "true",
      GLUELLM_PRICES: '{"simulator:*":{"inputPerMillion":1,"outputPerMillion":4}}',
    },
  });
  const url = await waitFor("the service", () => /listening on (\S+)/.exec(service.stdout())?.[1]);
  const ask = async (body: string) => {
    const response = await fetch(`${url}/ask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const id = response.headers.get("x-request-id");
    return { status: response.status, id, ...((await response.json()) as object) };
  };
  expect(await ask('{"question": "Name a prime number."}')).toMatchObject({
    status: 200,
    answer: expect.stringContaining("[simulated]"),
  });
  expect(await ask('{"question": " "}')).toMatchObject({
    status: 400,
    error: expect.stringContaining("question"),
  });
  expect(await ask("{")).toMatchObject({ status: 400, error: "This cannot be read as a question." });
  const failed = await ask('{"question": "wrong key"}');
  expect(failed).toMatchObject({ status: 500, error: "Something is wrong on our side, and we were told." });
  await waitFor("the request's id", () => service.stderr().includes(`"requestId":"${failed.id}"`));
  service.child.kill("SIGTERM");
  expect(await service.exit).toBe(0);
});
