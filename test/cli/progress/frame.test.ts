import stringWidth from "string-width";
import { describe, expect, test } from "vitest";
import type { BatchPicture, ModelPicture } from "../../../src/cli/progress/batch-picture.ts";
import { frame } from "../../../src/cli/progress/frame.ts";
import { plainLine } from "../../../src/cli/progress/plain-line.ts";

const WIDTHS = [20, 40, 60, 80, 100, 160];
const limits = {
  rpm: { perMinute: 600, source: "learned" as const },
  tpm: { perMinute: 90_000, source: "configured" as const },
};

function model(key: string, changes: Partial<ModelPicture> = {}): ModelPicture {
  const used = { requests: 590, tokens: 41_000, outputTokens: 20_000 };
  return { key, total: 100, done: 40, failed: 0, active: 6, waiting: 54, used, limits, ...changes };
}

const worker = (pid: number, active = 3) => ({
  id: `w${pid}`,
  host: "host",
  pid,
  active,
  ended: 20,
  isMemoryLow: false,
  jobsPerSecond: 1.5,
});

function picture(changes: Partial<BatchPicture> = {}): BatchPicture {
  return {
    input: "prompts.jsonl",
    output: "answers.jsonl",
    phase: "sending",
    elapsedMs: 12_000,
    total: 300,
    succeeded: 117,
    failed: 3,
    missing: 180,
    isCounted: true,
    rowsPerSecond: 9.6,
    etaSeconds: 19,
    costUsd: 0.0081,
    expectedUsd: 0.0207,
    maxCostUsd: 2,
    retries: 4,
    rateLimited: 1,
    models: [model("openai:gpt-4o-mini"), model("anthropic:claude-sonnet-4-5", { failed: 3 })],
    workers: [worker(process.pid, 7), worker(4712)],
    failures: [{ customId: "row-7", code: "invalid_request", message: "the prompt has no text" }],
    failureCounts: [["invalid_request", 3]],
    waitsFor: [],
    notices: [],
    ...changes,
  };
}

const plain = (text: string) => text;
const draw = (shown: BatchPicture, columns: number, rows = 50) =>
  frame(shown, { columns, rows, paint: plain });

test("a wide terminal", () => {
  expect(draw(picture(), 100).join("\n")).toMatchInlineSnapshot(`
    "prompts.jsonl → answers.jsonl                                                         sending · 12 s
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸────────────────────────────────────────────────────────  40 %
    120 of 300 rows · 3 failed · 9.6 rows/s · ETA 19 s · $0.0081 of about $0.021 · limit $2.00 · 429s 1
    retries 4

    MODEL                          DONE              RPM  ACTIVE  WAITING            TPM  FAILED
    openai:gpt-4o-mini           40/100  590/600 learned       6       54  41,000/90,000        
    anthropic:claude-sonnet-4-5  40/100  590/600 learned       6       54  41,000/90,000       3

    WORKER        ACTIVE  ENDED  JOBS/S
    this process       7     20     1.5
    host:4712          3     20     1.5

    FAILED  invalid_request 3
    row-7  invalid_request: the prompt has no text"
  `);
});

test("a narrow terminal", () => {
  expect(draw(picture(), 40).join("\n")).toMatchInlineSnapshot(`
    "prompts.json…swers.jsonl  sending · 12 s
    ━━━━━━━━━━━━━╸────────────────────  40 %
    120 of 300 rows · 3 failed · 9.6 rows/s
    ETA 19 s · $0.0081 of about $0.021
    limit $2.00 · 429s 1 · retries 4

    MODEL              DONE              RPM
    openai:…4o-mini  40/100  590/600 learned
    anthrop…net-4-5  40/100  590/600 learned

    WORKER        ACTIVE  ENDED  JOBS/S
    this process       7     20     1.5
    host:4712          3     20     1.5

    FAILED  invalid_request 3
    row-7  invalid_request: the prompt has …"
  `);
});

const LONG = "openrouter:meta-llama/llama-3.1-405b-instruct-with-a-name-that-goes-on-and-on-and-on:free";
const KINDS: Record<string, Partial<BatchPicture>> = {
  ordinary: {},
  "nothing done": {
    succeeded: 0,
    failed: 0,
    missing: 300,
    etaSeconds: undefined,
    failures: [],
    failureCounts: [],
  },
  "no rows at all": { total: 0, succeeded: 0, failed: 0, missing: 0, models: [] },
  "all failed": { succeeded: 0, failed: 300, missing: 0, phase: "done" },
  "large figures": {
    total: 123_456_789,
    missing: 99_999_999,
    failed: 1_234_567,
    costUsd: 123_456.78,
    expectedUsd: 9_999_999,
    elapsedMs: 1e9,
    etaSeconds: 1e8,
    rowsPerSecond: 12_345.6,
    models: [model(LONG, { total: 123_456_789, done: 99_999_999, active: 10_000, waiting: 5_000_000 })],
  },
  "a hundred models": { models: Array.from({ length: 100 }, (_, i) => model(`${LONG}-${i}`)) },
  "eight workers": { workers: Array.from({ length: 8 }, (_, i) => worker(i)) },
  "forty workers, one short of memory": {
    workers: Array.from({ length: 40 }, (_, i) => ({
      ...worker(i),
      host: "a".repeat(60),
      isMemoryLow: i === 0,
    })),
  },
  "a thousand failures": {
    failed: 1000,
    failures: Array.from({ length: 5 }, (_, i) => ({
      customId: `行-${i}-${"長い名前".repeat(20)}`,
      code: "invalid_request",
      message: `プロンプトが長すぎます。${"長".repeat(200)}\n\u001b[31mred 👩‍👩‍👧‍👦`,
    })),
    failureCounts: Array.from({ length: 12 }, (_, i) => [`code_number_${i}`, 1000 - i] as const),
  },
  "wide names of files": { input: "データ/質問の一覧.jsonl", output: "回答/👩‍👩‍👧‍👦.jsonl" },
  waiting: {
    phase: "waiting",
    etaSeconds: undefined,
    waitsFor: [
      `${LONG} waits for the provider's pause until 2026-01-01T00:00:00.000Z (quota); ${"x".repeat(300)}`,
    ],
    notices: ["the other workers log to answers.workers.log"],
  },
  "nothing read yet": { models: [{ key: LONG, total: 1, done: 0, failed: 0, limits: {} }], workers: [] },
};

describe.each(Object.entries(KINDS))("%s", (_, changes) => {
  test.each(WIDTHS)("no line is wider than %s columns, and the bar fills them", (columns) => {
    for (const rows of [2, 5, 10, 24, 50]) {
      const lines = draw(picture(changes), columns, rows);
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) {
        expect(stringWidth(line)).toBeLessThanOrEqual(columns);
        // A terminal must not act on what others wrote.
        expect(line).not.toMatch(/\p{Cc}/u);
      }
      expect(stringWidth(lines[1] ?? "")).toBe(columns);
    }
  });

  test("is one line in a log", () => {
    expect(plainLine(picture(changes))).not.toContain("\n");
  });
});

test("what matters most stays on a low terminal", () => {
  const shown = draw(picture({ waitsFor: ["a: the provider's pause"], phase: "waiting" }), 80, 6).join("\n");
  expect(shown).toContain("waiting · 12 s");
  expect(shown).toContain("120 of 300 rows");
  expect(shown).toContain("the provider's pause");
});

test("models at work come before those that are done, and the others are counted", () => {
  const done = Array.from({ length: 10 }, (_, i) => model(`x:done-${i}`, { active: 0, waiting: 0 }));
  const lines = draw(picture({ models: [...done, model("x:busy")] }), 100);
  expect(lines.findIndex((line) => line.startsWith("x:busy"))).toBeLessThan(
    lines.findIndex((line) => line.startsWith("x:done-0")),
  );
  expect(lines).toContain("… 3 more models");
});

test("a use near its limit, failures and waits are marked by colour", () => {
  const paint = (text: string, style: string | undefined) => (style ? `<${style}>${text}</>` : text);
  const shown = frame(picture({ waitsFor: ["x"] }), { columns: 100, rows: 50, paint }).join("\n");
  expect(shown).toContain("<yellow>590/600 learned</>");
  expect(shown).toMatch(/<red>━+<\/>/);
  expect(shown).toContain("<red>3 failed</>");
  expect(shown).toContain("<yellow>x</>");
});
