import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BARE_NAMES, settingsSchema } from "../../src/shared/settings-schema.ts";

const read = (path: string) => readFileSync(join(import.meta.dirname, "../..", path), "utf8");

const rows = [...read("docs/settings.md").matchAll(/^\| `GLUELLM_([A-Z_]+)`(\*?) \| (.*?) \|/gm)].map(
  ([, name = "", bare, shown = ""]) => ({ name, isBare: bare === "*", shown }),
);

/** Read before the schema, or beside it. */
const OTHERS = ["ALLOW_ENV_FILE_BASE_URL", "PROVIDERS", "TRUST_ENV_FILE"];

test("the table of settings has each variable of the schema once, and no other", () => {
  const names = rows.map(({ name }) => name);
  expect(names.toSorted()).toEqual([...Object.keys(settingsSchema.shape), ...OTHERS].toSorted());
});

test("the table marks the names that are read without the prefix too", () => {
  expect(new Set(rows.filter(({ isBare }) => isBare).map(({ name }) => name))).toEqual(BARE_NAMES);
});

test("the table's defaults are those of the schema", () => {
  const defaults: Record<string, unknown> = settingsSchema.parse({});
  for (const { name, shown } of rows) {
    const value = defaults[name];
    if (["string", "number", "boolean"].includes(typeof value)) expect(shown, name).toBe(String(value));
    else expect(shown, name).not.toBe("");
  }
});

test("the example file names each of them", () => {
  const named = new Set(
    [...read(".env.example").matchAll(/\b(?:GLUELLM_)?([A-Z][A-Z_]+)=/g)].map(([, name]) => name),
  );
  expect(rows.map(({ name }) => name).filter((name) => !named.has(name))).toEqual([]);
});
