import { expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";

const history = (env: Record<string, string>) => loadSettings({ env, cwd: "/" }).history;

test("the history is on where one place has all of it, and its database's password shows nowhere", () => {
  expect(history({}).enabled).toBe(true);
  expect(history({ GLUELLM_REDIS_URL: "redis://db:6379" }).enabled).toBe(false);
  const url = "postgres://me:secret@db/glue";
  const fleet = history({ GLUELLM_REDIS_URL: "redis://db:6379", GLUELLM_DATABASE_URL: url });
  expect(fleet).toMatchObject({ enabled: true, content: "preview" });
  expect(fleet.databaseUrl?.reveal()).toBe(url);
  expect(JSON.stringify(fleet)).not.toContain("secret");
  expect(history({ GLUELLM_HISTORY: "false", GLUELLM_DATABASE_URL: url }).enabled).toBe(false);
  expect(history({ GLUELLM_DATABASE_URL: "postgres://me@/glue?host=/run/postgresql" }).enabled).toBe(true);
  for (const wrong of ["mysql://db/glue", "postgres://me:secret@:port"]) {
    expect(() => history({ GLUELLM_DATABASE_URL: wrong })).toThrow(/GLUELLM_DATABASE_URL/);
    expect(() => history({ GLUELLM_DATABASE_URL: wrong })).not.toThrow(/secret/);
  }
});

test("rows of each table have a life of their own, else that of all", () => {
  const { retentionMs } = history({
    GLUELLM_RETENTION_HISTORY: "86400",
    GLUELLM_RETENTION_HISTORY_AUDIT: "864000",
  });
  expect(retentionMs).toMatchObject({ jobs: 86_400_000, audit: 864_000_000 });
  expect(() => history({ GLUELLM_RETENTION_HISTORY_JOBS: "1" })).toThrow(/must be from 60 to/);
});

test("contents stay no longer than their rows, and tables have a most of rows", () => {
  const { contentsMs, maxRows } = history({
    GLUELLM_RETENTION_HISTORY_CONTENTS: "86400",
    GLUELLM_HISTORY_MAX_ROWS: "1000",
    GLUELLM_HISTORY_MAX_ROWS_STEPS: "50",
  });
  expect(contentsMs).toBe(86_400_000);
  expect(maxRows).toMatchObject({ jobs: 1000, steps: 50 });
  expect(maxRows).not.toHaveProperty("audit");
  expect(history({})).toMatchObject({ contentsMs: undefined, maxRows: { jobs: undefined } });
  for (const [env, fault] of [
    [
      { GLUELLM_RETENTION_HISTORY: "86400", GLUELLM_RETENTION_HISTORY_CONTENTS: "86401" },
      /HISTORY_CONTENTS: contents go with their rows, which stay for 86400 s/,
    ],
    [{ GLUELLM_HISTORY_MAX_ROWS: "0" }, /HISTORY_MAX_ROWS: must be from 1 to/],
    [{ GLUELLM_HISTORY_MAX_ROWS_JOBS: "many" }, /HISTORY_MAX_ROWS_JOBS: must be a number/],
  ] as const)
    expect(() => history(env)).toThrow(fault);
});
