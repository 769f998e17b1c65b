import stringWidth from "string-width";
import { expect, test } from "vitest";
import type { FleetPicture, QueuePicture } from "../../../src/cli/top/fleet-picture.ts";
import { type TopOptions, topFrame } from "../../../src/cli/top/top-frame.ts";
import type { WorkerState } from "../../../src/shared/worker-state.ts";

const limits = { rpm: { perMinute: 600, source: "configured" as const } };

function queue(key: string, changes: Partial<QueuePicture> = {}): QueuePicture {
  return {
    ...{
      queue: `completions.${key}`,
      key,
      limits,
      waitsFor: [],
      isPaused: false,
      budgetShare: 0.5,
      oldestMs: 17_000,
    },
    counts: { waiting: 1384, active: 6, delayed: 2, completed: 9, failed: 1 },
    used: { requests: 300, tokens: 9000, outputTokens: 4000, rateLimited: 1 },
    ...{ workers: 2, ...changes },
  };
}

function worker(pid: number, changes: Partial<WorkerState> = {}): WorkerState {
  return {
    ...{
      id: `w${pid}`,
      host: "host",
      pid,
      version: "0.2.0",
      uptimeMs: 61_000,
      jobs: { active: 4, ended: 20 },
    },
    ...{
      isMemoryLow: false,
      rssBytes: 2e8,
      memoryShare: 0.1,
      lagMs: 3,
      clockAheadMs: 4,
      queues: [],
      queueGlobs: ["*"],
    },
    ...{ providers: ["openai"], tools: [], workflows: [], activities: [], ...changes },
  };
}

function picture(changes: Partial<FleetPicture> = {}): FleetPicture {
  return {
    ...{
      namespace: "default",
      at: new Date(0),
      queues: [queue("openai:gpt-4o"), queue("anthropic:claude-\u001b[31msonnet")],
    },
    workers: [
      worker(1),
      worker(2, { isMemoryLow: true, clockAheadMs: -90_000 }),
      worker(3, {
        version: null,
        rssBytes: null,
        lagMs: null,
        clockAheadMs: null,
        uptimeMs: null,
        jobs: null,
      }),
    ],
    perMinute: { requests: 600, tokens: 18_000, rateLimited: 2, ended: 46.4, failed: 3, spentUsd: 0.01 },
    ...{
      spentDayUsd: 4.2,
      errors: [{ code: "server_error", model: "openai:gpt-4o", failed: 3, failedCalls: 12 }],
    },
    ...{ patterns: ["openai failed 70 % of its calls"], ...changes },
  };
}

const still: TopOptions = {
  ...{ columns: 80, rows: undefined, paint: (text) => text, chosen: undefined, rates: new Map() },
  ...{ notice: undefined, foot: undefined },
};

test("nothing is wider than the terminal or higher than it, whatever its size", () => {
  const many = picture({
    queues: Array.from({ length: 50 }, (_, n) => queue(`openai:model-${n}`)),
    workers: Array.from({ length: 40 }, (_, n) => worker(n)),
  });
  for (const columns of [20, 60, 160]) {
    for (const rows of [4, 24]) {
      for (const shown of [picture(), many]) {
        const lines = topFrame(shown, {
          ...still,
          columns,
          rows,
          notice: "Redis does not answer",
          foot: "q quit",
        });
        expect(lines.length).toBeLessThanOrEqual(rows);
        expect(lines.filter((line) => stringWidth(line) > columns)).toEqual([]);
      }
    }
  }
});

test("a fleet is read without colours: budgets as bars, what is wrong in words", () => {
  const queues = [
    queue("openai:gpt-4o", { budgetShare: 0.97 }),
    queue("local:free", { budgetShare: undefined, waitsFor: ["an operator's resume"], oldestMs: 0 }),
    queue("openai:slow", { waitsFor: ["its next attempt"] }),
  ];
  const text = topFrame(picture({ queues }), {
    ...still,
    columns: 160,
    chosen: 1,
    rates: new Map([["w1", 3.25]]),
  }).join("\n");
  expect(text).toMatch(/^ {2}openai:gpt-4o +1,384 +6 +█{23}░ +97 % +17 s +300\/600/m);
  expect(text).toMatch(/^▸ local:free +1,384 +6 +no limit/m);
  expect(text).toContain("local:free waits for an operator's resume");
  expect(text).not.toContain("openai:slow waits");
  expect(text).toMatch(/^host:1 +4 +3\.3 +191 MB +3 ms +20 +1 min 1 s +ok +0\.2\.0$/m);
  expect(text).toMatch(/^host:2 +4 +0\.0 +low .* -90 s/m);
  expect(text).toMatch(/^host:3 +\? +0\.0 +\? +\? +\? +\? +\? +\?/m);
  expect(text).toMatch(/^server_error +3 +12 +openai:gpt-4o/m);
  expect(text).toContain("! openai failed 70 % of its calls");
  expect(topFrame(picture(), still).join("\n")).not.toContain("\u001b");
  expect(topFrame(picture({ queues: [], workers: [], errors: [] }), still).slice(-2)).toEqual([
    "",
    "no workers: jobs wait until one runs (gluellm worker)",
  ]);
});

test("the chosen queue stays in view", () => {
  const queues = Array.from({ length: 50 }, (_, n) => queue(`openai:model-${n}`));
  for (const chosen of [0, 25, 49]) {
    const text = topFrame(picture({ queues }), { ...still, rows: 24, chosen }).join("\n");
    expect(text).toContain(`▸ openai:model-${chosen} `);
  }
});
