import { expect, test } from "vitest";
import { widthOf } from "../../src/cli/progress/text-layout.ts";
import { type StepNode, stepTree } from "../../src/cli/step-tree.ts";

const START = Date.UTC(2026, 0, 1);
const MODEL = "openai:gpt-4o-mini";

function step(name: string, changes: Partial<StepNode> = {}): StepNode {
  const tokens = changes.state === "running" ? 0 : 100;
  return {
    step: name,
    kind: "completion",
    state: "succeeded",
    subject: MODEL,
    job: `r.${name}`,
    startedAt: new Date(START),
    finishedAt: changes.state === "running" ? undefined : new Date(START + 1500),
    tokensUsed: { prompt: tokens, completion: 0, total: tokens },
    costUsd: tokens > 0 ? 0.001 : null,
    error: undefined,
    children: [],
    waitsFor: [],
    ...changes,
  };
}

const tree = (steps: StepNode[], options = {}) => stepTree(steps, { now: START + 4000, ...options });

test("steps stand under their branches and child runs, with model, time, tokens and cost in columns", () => {
  const facts = step("right/facts", {
    kind: "child",
    subject: "facts",
    state: "running",
    children: [step("fact"), step("fact#2", { state: "running" })],
  });
  expect(tree([step("left/draft"), facts, step("left/edit", { state: "running" })])).toEqual([
    "• left",
    "  ✓ draft     openai:gpt-4o-mini  1.5 s  100 tokens  $0.0010",
    "  • edit      openai:gpt-4o-mini  4.0 s",
    "• right",
    "  • facts     facts               4.0 s  100 tokens  $0.0010",
    "    ✓ fact    openai:gpt-4o-mini  1.5 s  100 tokens  $0.0010",
    "    • fact#2  openai:gpt-4o-mini  4.0 s",
    "5 steps: 2 done, 3 running · 200 tokens · $0.0020 · 4.0 s",
  ]);
});

test("a step that does not go on says why: its error, its signal, what its job waits for", () => {
  const error = { code: "rate_limit", category: "rate_limit", message: "" } as StepNode["error"];
  const lines = tree([
    step("a", { state: "failed", error }),
    step("b", { state: "running", kind: "signal", subject: "approval" }),
    step("c", { state: "running", waitsFor: ["a worker"] }),
    step("d", { state: "running", kind: "sleep", subject: undefined }),
    step("e", { state: "cancelled" }),
    step("f", { kind: "local", subject: undefined, startedAt: undefined }),
  ]);
  const ends = ["rate_limit", "waits for signal approval", "waits for a worker", "sleeps", "cancelled", "f"];
  expect(lines.slice(0, -1).map((line) => ends.find((end) => line.endsWith(end)))).toEqual(ends);
});

test("a long tree gives up finished lines from the top, then the top", () => {
  const done = Array.from({ length: 30 }, (_, n) => step(`done-${n}`));
  const open = step("open", { state: "running" });
  const lines = tree([open, ...done], { maxLines: 6 });
  expect(lines.map((line) => line.split(/ {2,}/)[0])).toEqual([
    "… 27 more lines",
    "• open",
    "✓ done-27",
    "✓ done-28",
    "✓ done-29",
    expect.stringContaining("31 steps: 30 done, 1 running · 3,000 tokens"),
  ]);
  const many = Array.from({ length: 30 }, (_, n) => step(`open-${n}`, { state: "running" }));
  expect(tree(many, { maxLines: 4 }).slice(1, -1).join()).toMatch(/open-28.*open-29/);
  expect(tree(done, { maxLines: 31 })).toHaveLength(31);
});

test("no line is longer than the terminal, and none carries control characters", () => {
  const [line = "", sum = ""] = tree([step("a\u001b[2J", { subject: "m".repeat(100) })], { columns: 40 });
  expect(line).toHaveLength(40);
  expect(line).toMatch(/^✓ a\\u001b\[2J.*…$/);
  expect(sum.length).toBeLessThanOrEqual(40);
});

test("a cost that nobody knows is said to be so, and no steps are no steps", () => {
  expect(tree([step("a", { costUsd: null })])).toEqual([
    "✓ a  openai:gpt-4o-mini  1.5 s  100 tokens  no price",
    "1 step: 1 done · 100 tokens · $0.00 and calls without a known price · 1.5 s",
  ]);
  expect(tree([])).toEqual(["0 steps · 0 tokens · $0.00"]);
});

test("wide characters take their two columns: in the columns of figures, and where a line is cut", () => {
  const wide = "要約する";
  const steps = [step(wide), step("plain"), step("👩‍🔬 review"), step("要".repeat(40))];
  const lines = tree(steps);
  const places = lines.slice(0, -1).map((line) => widthOf(line.slice(0, line.indexOf("openai:"))));
  expect(new Set(places).size).toBe(1);
  for (const columns of [40, 41, 80]) {
    const cut = tree(steps, { columns });
    // Names give way to figures.
    if (columns === 80) for (const line of cut.slice(0, -1)) expect(line).toMatch(/100 tokens {2}\$0.0010$/);
    for (const line of cut) expect(widthOf(line), line).toBeLessThanOrEqual(columns);
    expect(cut.join("\n")).not.toContain("\ufffd");
  }
});
