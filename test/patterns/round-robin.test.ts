import { expect, test } from "vitest";
import { Agent, roundRobin } from "../../src/index.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

function agent(name: string) {
  const words = { description: `The ${name}.`, systemPrompt: `You are the ${name}.` };
  return new Agent({ name, ...words, model: `simulator:${name}` });
}
const CONFIG = { input: "Describe tides.", agents: [agent("physicist"), agent("sailor")], maxRounds: 2 };
const SCRIPT = { physicist: ["P1", "P2", "together"], sailor: ["S1", "S2"] };
const IN_TURN = ["P1", "S1", "P2", "S2"];

/** The blocks of a prompt after its instruction. */
function shown(input: string | undefined): string[] {
  return [...(input ?? "").matchAll(/<([a-z0-9-]+)(?: agent="(\w+)")?>\n(.*)\n<\/\1>/g)].map(
    ([, tag, agent, text]) => `${tag}${agent ? `-${agent}` : ""}: ${text}`,
  );
}

test("agents take turns, each sees all before; the first one writes the synthesis; agents × maxRounds + 1 calls", async () => {
  const { run, calls } = await patternSite(SCRIPT);
  const result = await run(roundRobin, CONFIG);
  expect(result).toMatchObject({
    finalOutput: "together",
    iterations: 2,
    metadata: {
      stopReason: "max_rounds",
      contributionStyle: "extend",
      contributions: [
        { round: 1, agent: "physicist", text: "P1" },
        { round: 1, agent: "sailor", text: "S1" },
        { round: 2, agent: "physicist", text: "P2" },
        { round: 2, agent: "sailor", text: "S2" },
      ],
    },
  });
  expect(calls()).toBe(2 * 2 + 1);
  const all = [
    "task: Describe tides.",
    "round-1-physicist: P1",
    "round-1-sailor: S1",
    "round-2-physicist: P2",
    "round-2-sailor: S2",
  ];
  const interactions = result.agentInteractions;
  expect(interactions.map(({ input }) => shown(input))).toEqual([1, 2, 3, 4, 5].map((n) => all.slice(0, n)));
  expect(interactions[0]?.input).toMatch(/^You are the first/);
  expect(interactions.at(-1)).toMatchObject({ stage: "synthesis", agent: "physicist", output: "together" });
});

test("three rounds by default", async () => {
  const { run, calls } = await patternSite(SCRIPT);
  const { maxRounds: _two, ...others } = CONFIG;
  expect(await run(roundRobin, others)).toMatchObject({ iterations: 3 });
  expect(calls()).toBe(2 * 3 + 1);
});

test.each([
  ["extend", "the additions as one text", "P1\n\nS1\n\nP2\n\nS2", /^Add to/],
  ["refine", "the last text", "S2", /^Improve the last/],
  [
    "challenge",
    "each word under its author's name",
    "[physicist, round 1]\nP1\n\n[sailor, round 1]\nS1\n\n[physicist, round 2]\nP2\n\n[sailor, round 2]\nS2",
    /^Challenge/,
  ],
])(
  "style %s without a synthesis gives %s; agents × maxRounds calls",
  async (contributionStyle, _what, finalOutput, told) => {
    const { run, calls } = await patternSite(SCRIPT);
    const result = await run(roundRobin, { ...CONFIG, contributionStyle, finalSynthesis: false });
    expect(result).toMatchObject({ finalOutput, metadata: { contributionStyle } });
    expect(result.agentInteractions.map(({ output }) => output)).toEqual(IN_TURN);
    for (const { input } of result.agentInteractions.slice(1)) expect(input).toMatch(told);
    expect(calls()).toBe(4);
  },
);

test("style refine shows the last text of each agent, which holds those before", async () => {
  const { run } = await patternSite(SCRIPT);
  const result = await run(roundRobin, { ...CONFIG, contributionStyle: "refine" });
  expect(shown(result.agentInteractions[3]?.input)).toEqual([
    "task: Describe tides.",
    "round-1-sailor: S1",
    "round-2-physicist: P2",
  ]);
  expect(shown(result.agentInteractions[4]?.input)).toEqual([
    "task: Describe tides.",
    "round-2-physicist: P2",
    "round-2-sailor: S2",
  ]);
});

test("a failing agent fails the run with the error of its call", async () => {
  const { run } = await patternSite({ ...SCRIPT, sailor: { error: "400" } });
  await expect(run(roundRobin, CONFIG)).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  roundRobin,
  "a killed worker: the turn goes on where it was, and no contribution is paid for twice",
  async () => {
    // Slow enough that the kill falls into the run.
    const physicist = SCRIPT.physicist.map((reply) => ({ reply, latencyMs: 100 }));
    const { survivesAKill, calls } = await patternSite({ ...SCRIPT, physicist });
    const result = await survivesAKill(roundRobin, CONFIG, 5);
    expect(calls()).toBeLessThanOrEqual(5 + 1);
    expect(result.finalOutput).toBe("together");
  },
);

test.each([
  ["no agents", { agents: [] }, /wrong at agents: must have at least one agent/],
  [
    "two agents of one name",
    { agents: [agent("a"), agent("a")] },
    /wrong at agents.1.name: is the name of an earlier/,
  ],
  ["no rounds", { maxRounds: 0 }, /wrong at maxRounds/],
  ["more rounds than can be meant", { maxRounds: 101 }, /wrong at maxRounds/],
  ["an unknown style", { contributionStyle: "praise" }, /wrong at contributionStyle/],
  ["no yes or no for the synthesis", { finalSynthesis: "yes" }, /wrong at finalSynthesis/],
  ["an unknown option", { maxTurns: 3 }, /maxTurns/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(roundRobin, { ...CONFIG, ...config })).rejects.toThrow(message);
});
