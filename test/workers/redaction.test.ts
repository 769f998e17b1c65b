import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Queue } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { jobs } from "../../src/history/lists.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { readHistoryLag } from "../../src/store/outbox-reader.ts";
import { failureOf } from "../support/provider.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { telling } from "../support/telling-workflow.ts";
import { waitFor } from "../support/wait-for.ts";

const MAIL = "ada.canary@example.org";
const CARD = "4111 1111 1111 1111";
const MODULE = join(import.meta.dirname, "../support/telling-workflow.ts");

test("what is kept to be read later is redacted; the provider and the caller get what was said, and nothing is paid twice", async () => {
  const env: Record<string, string> = { GLUELLM_HISTORY: "true", GLUELLM_HISTORY_CONTENT: "full" };
  const site = await TestSite.open({}, { ...env, GLUELLM_LOG_DIR: "logs", GLUELLM_LOG_FILE_LEVEL: "trace" });
  onTestFinished(() => site[Symbol.asyncDispose]());
  const data = site.path("data");
  const settingsOf = (more: Record<string, string>) =>
    loadSettings({ env: { ...site.env, GLUELLM_DATA_DIR: data, ...more }, cwd: "/" });
  const settings = settingsOf({ GLUELLM_REDACT: "all" });
  const on = { GLUELLM_REDACT: "all", GLUELLM_DATA_DIR: data };
  const worker = site.startWith(on, "worker", "--module", MODULE);
  const client = siteClient(site, { settings, workflows: [telling] });
  const store = testStore(site.namespace);
  await waitFor("ends are written down", () => store.redis.hexists(store.keys.outbox, "history"));

  const reply = `I wrote to ${MAIL} of the card ${CARD}.`;
  // The preview ends in the midst of the card.
  const question = `${"a".repeat(190)} ${CARD} is of ${MAIL}\n#sim ${JSON.stringify({ reply })}`;
  const handle = await client.enqueue(question, { model: MODEL, idempotencyKey: "letter" });
  expect((await handle.result()).finalResponse).toBe(reply);
  const chat = client.conversation({ model: MODEL });
  await chat.complete(question);
  await chat.complete("and now?");
  const asked = site.simulator.journal.entries();
  expect(asked.filter(({ lastUserText }) => lastUserText.startsWith("aaa"))).toHaveLength(2);
  expect(JSON.stringify(await chat.messages())).toContain(MAIL);

  // The same request is the same job, whoever asks it with redaction or without.
  const plain = siteClient(site, { settings: settingsOf({}) });
  const again = await plain.enqueue(question, { model: MODEL, idempotencyKey: "letter" });
  expect([again.id, (await again.result()).finalResponse]).toEqual([handle.id, reply]);
  expect(site.simulator.journal.entries()).toHaveLength(asked.length);

  const run = await client.workflows.start(telling, question);
  expect(await failureOf(run.result())).toMatchObject({ message: expect.stringContaining(MAIL) });

  const queue = new Queue(completionQueueName(modelRef("simulator", "test")), {
    ...{ connection: store.redis, prefix: store.keys.prefix },
  });
  onTestFinished(() => queue.close());
  const ended = await waitFor("the job's end", async () => {
    const job = await queue.getJob(handle.id);
    return job?.returnvalue ? job : undefined;
  });
  if (!store.sealing.isOn) {
    expect(ended.returnvalue.text).toBe("I wrote to [EMAIL] of the card [CARD].");
    expect(ended.data.preview).toMatch(/^a{190} \[CARD\] i/);
  }

  await waitFor("the history", async () => (await readHistoryLag(store)).waiting === 0);
  const history = await openHistory(settings);
  onTestFinished(() => history.close());
  expect((await jobs(history, { since: 0 })).map(({ id }) => id)).toContain(handle.id);
  const rows = await Promise.all(
    ["jobs", "runs", "errors"].map((table) => history.query(`SELECT * FROM ${table}`)),
  );
  const told = JSON.stringify(rows);
  if (!store.sealing.isOn) expect(told).toContain("I wrote to [EMAIL] of the card [CARD].");
  worker.child.kill("SIGTERM");
  await worker.exit;
  const dir = site.path("logs");
  const logs = readdirSync(dir).map((file) => readFileSync(join(dir, file), "utf8"));
  for (const text of [told, worker.stderr(), ...logs]) {
    expect(text).not.toContain("canary");
    expect(text).not.toContain("4111 1111");
  }
});

test("a redaction that cannot be is one error at the start", async () => {
  await using site = await TestSite.open(
    {},
    { GLUELLM_REDACT: "mail", GLUELLM_RETENTION_HISTORY_CONTENTS: "1" },
  );
  const { code, stderr } = await site.run("tenants", "list");
  expect(code).toBe(3);
  expect(stderr).toContain('GLUELLM_REDACT: "mail" is no kind');
  expect(stderr).toContain("GLUELLM_RETENTION_HISTORY_CONTENTS: must be from 60 to");
  const missing = await site.startWith(
    {
      ...site.env,
      GLUELLM_REDACT: "",
      GLUELLM_RETENTION_HISTORY_CONTENTS: "",
      GLUELLM_REDACT_MODULE: "none.mjs",
    },
    "tenants",
    "list",
  );
  expect(await missing.exit).toBe(3);
  expect(missing.stderr()).toMatch(/GLUELLM_REDACT_MODULE: .*none\.mjs cannot be loaded/);
});
