import { expect, test } from "vitest";
import { announceAlert } from "../../src/store/outbox.ts";
import { testStore } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { LOOPBACK, unwrap, webhookSite } from "../support/webhooks.ts";
import { wireServer } from "../support/wire-server.ts";

test("gluellm webhooks: add, test, show, replay; what is wrong is told, with its exit code", async () => {
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
  const shown = await run("show", id);
  expect(shown.stdout).toMatch(/evt_\w+ {2}alert\.firing {2}1 {4}dead {3}410/);
  expect(shown.stdout).not.toContain("whsec_");
  answer = 200;
  await webhooks.enable(id);
  expect((await run("replay", id)).stdout).toBe("replayed 1\n");
  await waitFor("the replay", () => receiver.requests.length === 3);
  await telling.close();
  const inside = await run("add", "http://10.0.0.1/");
  expect(inside).toMatchObject({ code: 2, stderr: expect.stringContaining("GLUELLM_WEBHOOK_ALLOW_PRIVATE") });
});
