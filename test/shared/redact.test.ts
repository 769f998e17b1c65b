import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { redacted, redactedJson, redactorOf } from "../../src/shared/redact.ts";
import { loadSettings } from "../../src/shared/settings.ts";

const folder = mkdtempSync(join(tmpdir(), "gluellm-redact-"));
afterAll(() => rmSync(folder, { recursive: true }));

let modules = 0;
function moduleOf(source: string): string {
  const path = join(folder, `own-${++modules}.mjs`);
  writeFileSync(path, source);
  return path;
}

const load = (env: Record<string, string>) => loadSettings({ env, cwd: "/" }).redaction;
const all = redactorOf(load({ GLUELLM_REDACT: "all" })) ?? ((text: string) => text);

test.each([
  ["mail ada@example.org.", "mail [EMAIL]."],
  ["card 4111 1111 1111 1111!", "card [CARD]!"],
  ["card 4111-1111-1111-1112", "card 4111-1111-1111-1112"],
  ["IBAN DE89 3704 0044 0532 0130 00 and DE89370400440532013001", "IBAN [IBAN] and DE89370400440532013001"],
  ["Call 0171 123 45 67.", "Call [PHONE]."],
  ["visa-4111111111111111, tel-0171-1234-567", "visa-[CARD], tel-[PHONE]"],
  ["or +49 (0)171-1234-567, or +491711234567", "or [PHONE], or [PHONE]"],
  ["key sk-proj-abcdefghijklmnop0123456789", "key [API_KEY]"],
  [
    "at 2026-11-30 09:12:44 of 2026-11-30T09:12:44.120Z",
    "at 2026-11-30 09:12:44 of 2026-11-30T09:12:44.120Z",
  ],
  ["job-01932075-7123-8123-9012-123456789012", "job-01932075-7123-8123-9012-123456789012"],
])("%s", (text, stored) => {
  expect(all(text)).toBe(stored);
});

test("it is off by default, looks for what is named alone, and refuses what is no kind", () => {
  expect(redactorOf(load({}))).toBeUndefined();
  const mail = redactorOf(load({ GLUELLM_REDACT: "email, keys" }));
  expect(mail?.("a@b.org 4111111111111111 AKIAABCDEFGHIJKLMNOP")).toBe("[EMAIL] 4111111111111111 [AWS_KEY]");
  expect(() => load({ GLUELLM_REDACT: "mail" })).toThrow(
    /GLUELLM_REDACT: "mail" is no kind; there are email, /,
  );
});

test("a module's own rule gets what the kinds left; what it fails at is not stored", () => {
  const module = moduleOf(`export function redact(text) {
    if (text.includes("throw")) throw new Error("no");
    return text.includes("nothing") ? undefined : text.replace(/EMP-\\d+/g, "[EMPLOYEE]");
  }`);
  const redact = redactorOf(load({ GLUELLM_REDACT: "email", GLUELLM_REDACT_MODULE: module }));
  expect(redact?.("EMP-12 a@b.org")).toBe("[EMPLOYEE] [EMAIL]");
  expect(redact?.("throw a secret")).toBe("[REDACTION FAILED]");
  expect(redact?.("nothing of a secret")).toBe("[REDACTION FAILED]");
});

test.each([
  ["export const other = 1", /does not export the function redact/],
  ["export const redact = async (text) => text", /returns no text/],
  ["syntax error", /cannot be loaded/],
])("a module is refused at the start: %s", (source, fault) => {
  const module = moduleOf(source);
  expect(() => redactorOf(load({ GLUELLM_REDACT_MODULE: module }))).toThrow(/GLUELLM_REDACT_MODULE/);
  expect(() => redactorOf(load({ GLUELLM_REDACT_MODULE: module }))).toThrow(fault);
});

test("what is cut is redacted before, so that no half of it is left", () => {
  const text = `${"x".repeat(190)} 4111 1111 1111 1111 ${"y".repeat(5000)}`;
  expect(redacted(text, all, 200)).toBe(`${"x".repeat(190)} [CARD] yy`);
  expect(redacted(text, undefined, 200)).toBe(text.slice(0, 200));
  const messages = [{ role: "user", content: "first\n4111 1111 1111 1111\n0171 123 45 67" }];
  expect(redactedJson(messages, all, 1000)).toBe('[{"role":"user","content":"first\\n[CARD]\\n[PHONE]"}]');
});

test("lines of a log are redacted, whatever of them has it", () => {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({
    level: "silent",
    json: true,
    more: [{ level: "info", stream }],
    redact: all,
  });
  const bound = logger.child({ of: "a@b.org" });
  bound.info({ nested: { to: "c@d.org" }, n: 4111111111111111 }, "for e@f.org");
  bound.error(new Error("by g@h.org"));
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    ...{ of: "[EMAIL]", nested: { to: "[EMAIL]" }, n: 4111111111111111, msg: "for [EMAIL]" },
  });
  expect(lines.every((line) => line.endsWith("\n"))).toBe(true);
  expect(lines[1]).not.toContain("g@h.org");
});
