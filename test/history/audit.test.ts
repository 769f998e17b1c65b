import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { addToChain, expireActs } from "../../src/history/audit-chain.ts";
import { AuditConsumer } from "../../src/history/audit-consumer.ts";
import { listActs } from "../../src/history/audit-list.ts";
import { verifyAudit } from "../../src/history/audit-verify.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { Secret } from "../../src/shared/secret.ts";
import { loadSettings, type Settings } from "../../src/shared/settings.ts";
import {
  Audit,
  forgetActs,
  noteHead,
  oldestEntries,
  readAuditState,
  switchAuditOff,
  switchAuditOn,
} from "../../src/store/audit.ts";
import { saveTenant } from "../../src/store/tenant.ts";
import { noPostgres, PostgresCluster } from "../support/postgres.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

const KEY = "a key of at least thirty-two characters";
const keys = [new Secret(KEY)];
const logger = createLogger({ level: "silent", json: true });
const ALL = { since: 0 };

let cluster: PostgresCluster | undefined;
beforeAll(async () => {
  if (!noPostgres) cluster = await PostgresCluster.start();
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

type Engine = "sqlite" | "postgres";
const ENGINES: Engine[] = noPostgres ? ["sqlite"] : ["sqlite", "postgres"];

function settingsOf(engine: Engine, more: Record<string, string> = {}): Settings {
  const place = engine === "postgres" ? { GLUELLM_DATABASE_URL: cluster?.url } : { GLUELLM_HISTORY: "true" };
  const env = {
    ...{ GLUELLM_NAMESPACE: testNamespace(), GLUELLM_DATA_DIR: temporaryFolder(), GLUELLM_AUDIT_KEY: KEY },
    ...{ GLUELLM_REDIS_URL: `unix://${inject("redisSocket")}`, ...place, ...more },
  };
  return loadSettings({ env, cwd: "/" });
}

async function opened(engine: Engine, more?: Record<string, string>) {
  const settings = settingsOf(engine, more);
  const store = testStore(settings.namespace);
  const history = await openHistory(settings);
  onTestFinished(() => history.close());
  await switchAuditOn(store, settings.audit.maxWaiting);
  const audit = new Audit(store);
  const act = (target: string, action = "gluellm test") =>
    audit.around({ actor: "key_1", role: "admin", address: "::1", tenant: "acme", action, target }, () =>
      saveTenant(store, target, { weight: 1 + Math.random() }),
    );
  /** As the consumer does. */
  async function move(count = 1000) {
    const entries = await oldestEntries(store, count);
    const { head, hash = "" } = await readAuditState(store);
    const added = await addToChain(history, entries, { key: keys[0] as Secret, noted: { seq: head, hash } });
    await noteHead(store, added.seq, added.hash);
    await forgetActs(
      store,
      entries.map(({ id }) => id),
    );
  }
  const faults = async (options = {}) =>
    (await verifyAudit(store, history, { keys, ...options })).faults.map(({ kind, seq }) => [kind, seq]);
  return { settings, store, history, audit, act, move, faults };
}

for (const engine of ENGINES) {
  test(`${engine}: acts are told with digests of before and after, and their chain is sound`, async () => {
    const { store, history, audit, act, move, faults } = await opened(engine);
    await act("one");
    await act("one", "gluellm again");
    await expect(
      audit.around({ actor: "a", tenant: "default", action: "fails", target: "two\0\ud800" }, () =>
        Promise.reject(Object.assign(new Error("a prompt"), { code: "some_code" })),
      ),
    ).rejects.toThrow("a prompt");
    await audit.begin({ actor: "a", tenant: "default", action: "is killed" });
    expect(await faults()).toEqual([]);
    await move(3);
    expect(await faults()).toEqual([]);
    await move();
    const acts = await listActs(history, ALL);
    expect(acts.map(({ action, outcome }) => [action, outcome])).toEqual([
      ["is killed", null],
      ["fails", "some_code"],
      ["gluellm again", "done"],
      ["gluellm test", "done"],
    ]);
    const [, , second, first] = acts;
    expect(first).toMatchObject({
      actor: "key_1",
      role: "admin",
      address: "::1",
      tenant: "acme",
      target: "one",
    });
    expect([first?.beforeDigest, first?.afterDigest?.length]).toEqual([null, 64]);
    expect(second?.beforeDigest).toBe(first?.afterDigest);
    expect(second?.afterDigest).not.toBe(second?.beforeDigest);
    expect(await listActs(history, { ...ALL, action: "AGAIN", actor: "y_1", tenant: "acme" })).toHaveLength(
      1,
    );
    expect(await listActs(history, { ...ALL, target: "%" })).toHaveLength(0);
    expect(await listActs(history, { ...ALL, before: second?.seq, limit: 1 })).toMatchObject([{ seq: 1 }]);
    expect(await verifyAudit(store, history, { keys })).toMatchObject({
      rows: 7,
      first: 1,
      waiting: 0,
      faults: [],
    });
    // A new key writes from now on, the old one still counts.
    expect(await faults({ keys: [new Secret("x".repeat(32)), ...keys] })).toEqual([]);
    expect(await faults({ keys: [new Secret("x".repeat(32))] })).toHaveLength(7);
  });

  test(`${engine}: what was taken out, put in, changed or cut off shows`, async () => {
    const { store, history, act, move, faults } = await opened(engine);
    for (let n = 0; n < 4; n++) await act(`t${n}`);
    await move();
    const { head } = await verifyAudit(store, history, { keys });
    const rows = await history.query("SELECT * FROM audit ORDER BY seq");
    const restore = () => history.write({ audit: rows });
    const change = (sql: string) => history.remove(sql);

    await change("UPDATE audit SET actor = 'somebody' WHERE seq = 3");
    expect(await faults()).toEqual([["changed", 3]]);
    await restore();
    for (const column of ["at", "outcome", "address", "number", "act", "target", "after_digest", "id"])
      await change(`UPDATE audit SET ${column} = ${column} WHERE seq = 2`);
    expect(await faults()).toEqual([]);
    for (const sql of [
      "UPDATE audit SET at = at + 1 WHERE seq = 2",
      "UPDATE audit SET target = 'x' WHERE seq = 2",
      "UPDATE audit SET tenant = NULL WHERE seq = 2",
    ]) {
      await change(sql);
      expect(await faults()).toEqual([["changed", 2]]);
      await restore();
    }
    await change("DELETE FROM audit WHERE seq IN (4, 5)");
    expect(await faults()).toEqual([
      ["gap", 6],
      ["gap", 6],
    ]);
    await restore();
    await change("DELETE FROM audit WHERE seq <= 2");
    expect(await faults()).toEqual([["gap", 3]]);
    await restore();
    await change("DELETE FROM audit WHERE seq > 6");
    expect(await faults()).toEqual([
      ["gap", 6],
      ["lowered", 6],
    ]);
    // Whoever sets Redis back too is told by an end that was kept elsewhere.
    const shown = await verifyAudit(store, history, { keys });
    await store.redis.hset(store.keys.audit, { head: shown.head.seq, hash: shown.head.hash });
    await store.redis.hset(store.keys.audit, "number", 6);
    expect(await faults()).toEqual([]);
    expect(await faults({ expected: head })).toEqual([["lowered", 6]]);
    await restore();
    await store.redis.hset(store.keys.audit, "number", 8);
    expect(await faults({ expected: head })).toEqual([]);
    expect(await faults({ expected: { seq: 4, hash: head.hash } })).toEqual([["changed", 4]]);

    // The chain goes on behind what was cut off, and never looks whole again.
    await noteHead(store, head.seq, head.hash);
    await change("DELETE FROM audit WHERE seq > 6");
    await act("later");
    await move();
    expect(await faults()).toEqual([
      ["gap", 9],
      ["gap", 9],
    ]);
  });

  test(`${engine}: old entries go, and that they went is told by the chain`, async () => {
    const { history, audit, act, move, faults } = await opened(engine);
    for (let n = 0; n < 3; n++) await act(`t${n}`);
    await move();
    expect(await expireActs(history, audit, Date.now() + 60_000)).toBe(0);
    expect(await listActs(history, ALL)).toHaveLength(3);
    await move();
    expect(await expireActs(history, audit, 0)).toBe(6);
    expect(await faults()).toEqual([]);
    expect(await listActs(history, ALL)).toMatchObject([{ action: "audit.expire", target: "6" }]);
    await history.remove("DELETE FROM audit WHERE seq = 7");
    expect(await faults()).toEqual([["gap", 8]]);
  });

  test(`${engine}: entries that Redis lost show, and a consumer that comes again adds none twice`, async () => {
    const { store, history, act, move, faults } = await opened(engine);
    await act("one");
    const again = await store.redis.xrange(store.keys.outboxAudit, "-", "+");
    await move();
    for (const [id, fields] of again)
      await store.redis.xadd(store.keys.outboxAudit, "*", ...fields, "old", id);
    const [first] = again;
    expect(
      await addToChain(history, [{ id: first?.[0] ?? "", fields: first?.[1] ?? [] }], {
        key: keys[0] as Secret,
        noted: { seq: 0, hash: "" },
      }),
    ).toMatchObject({ seq: 2 });
    await store.redis.del(store.keys.outboxAudit);
    expect(await faults()).toEqual([]);
    await act("two");
    await store.redis.del(store.keys.outboxAudit);
    expect(await faults()).toEqual([["gap", 2]]);
    await act("three");
    await move();
    expect(await faults()).toEqual([["gap", 3]]);
    await store.redis.hset(store.keys.audit, "number", 3);
    await act("four");
    await move();
    expect(await faults()).toContainEqual(["restarted", 5]);
    // An emptied Redis counts from 1 again.
    await store.redis.del(store.keys.audit, store.keys.outboxAudit);
    await switchAuditOn(store, 100);
    await act("five");
    await move();
    expect(await faults()).toContainEqual(["restarted", 7]);
  });
}

test("while the database is away acts wait in Redis, then they are refused; nothing of them is lost", async () => {
  const { settings, store, history, act, audit } = await opened("sqlite", {
    GLUELLM_AUDIT_MAX_WAITING: "10",
  });
  for (let n = 0; n < 5; n++) await act(`t${n}`);
  let isDone = false;
  const refused = audit.around({ actor: "a", tenant: "default", action: "no" }, async () => {
    isDone = true;
  });
  await expect(refused).rejects.toMatchObject({
    code: "audit_full",
    message: expect.stringMatching(/^nothing is changed: 10 /),
  });
  expect(isDone).toBe(false);
  // Two at once: one has the lease.
  const consumers = [0, 1].map(() => new AuditConsumer({ store, settings, logger, idleMs: 5, leaseMs: 250 }));
  onTestFinished(async () => void (await Promise.all(consumers.map((consumer) => consumer.close()))));
  await waitFor("the entries are in SQL", async () => (await readAuditState(store)).waiting === 0);
  await act("more");
  await consumers[0]?.close();
  await waitFor("these too", async () => (await readAuditState(store)).waiting === 0);
  expect(await verifyAudit(store, history, { keys })).toMatchObject({ rows: 12, faults: [] });

  await switchAuditOff(store);
  const other = new Audit(store);
  expect(await other.begin({ actor: "a", tenant: "default", action: "untold" })).toBeUndefined();
  await act("later");
});

test("the audit needs a key and a place", () => {
  const load = (env: Record<string, string>) => loadSettings({ env, cwd: "/" });
  expect(() => load({ GLUELLM_AUDIT_KEY: "short" })).toThrow(
    /GLUELLM_AUDIT_KEY: each key must have at least 32/,
  );
  expect(() => load({ GLUELLM_AUDIT_KEY: KEY, GLUELLM_HISTORY: "false" })).toThrow(/GLUELLM_DATABASE_URL or/);
  expect(load({ GLUELLM_AUDIT_KEY: `${KEY},${"b".repeat(40)}` }).audit.keys).toHaveLength(2);
  expect(JSON.stringify(load({ GLUELLM_AUDIT_KEY: KEY }))).not.toContain(KEY);
});
