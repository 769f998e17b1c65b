import { expect, test } from "vitest";
import { announceAlert } from "../../src/store/outbox.ts";
import { testStore } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { LOOPBACK, unwrap, webhookSite } from "../support/webhooks.ts";
import { wireServer } from "../support/wire-server.ts";

test("gluellm webhooks: add, test, which tells by its exit code, and replay", async () => {
  await using site = await TestSite.open({}, LOOPBACK);
  let answer = 410;
  const receiver = await wireServer((response) => response.writeHead(answer).end());
  const run = (...args: string[]) => site.run("webhooks", ...args);

  const added = await run("add", `${receiver.url}/hook`, "--event", "alert.*", "--tenant", "acme");
  const secret = added.stdout.trim();
  const id = /wh_[\w-]+/.exec(added.stderr)?.[0] ?? "";
  expect([added.code, secret]).toEqual([0, expect.stringMatching(/^whsec_/)]);
  const refused = await run("test", id);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("the receiver answered 410")]);
  const [tested] = receiver.requests;
  expect(tested && (await unwrap(tested, secret))).toMatchObject({
    type: "webhook.test",
    data: { tenant: "acme" },
  });

  const { host, webhooks } = webhookSite([], LOOPBACK, site.namespace);
  const telling = host();
  await announceAlert(testStore(site.namespace), { id: "a", state: "firing", tenant: "acme" });
  await waitFor("its end", async () => (await webhooks.get(id)).dead === 1);
  answer = 200;
  await webhooks.enable(id);
  expect((await run("replay", id)).stdout).toBe("replayed 1\n");
  await waitFor("the replay", () => receiver.requests.length === 3);
  await telling.close();
});
