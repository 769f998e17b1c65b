import { expect, test } from "vitest";
import { Agent, debate } from "../../src/index.ts";
import type { Call } from "../../src/simulator/call.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

const INPUT = { input: "Tea or coffee?", participants: [agent("ann"), agent("bob")] };
const SPEECHES = { ann: ["tea 1", "tea 2", "tea 3"], bob: ["coffee 1", "coffee 2", "coffee 3"] };
const VERDICT = { reasoning: "It keeps.", decision: "Coffee.", winner: "bob" };
const APART = { differences: ["the drink"], position: null };
const AGREED = { differences: [], position: "Tea." };

function agent(name: string) {
  const words = { description: `The ${name}.`, systemPrompt: `You are the ${name}.` };
  return new Agent({ name, ...words, model: `simulator:${name}` });
}

test("each round shows all that was said before; without a judge the last positions; rounds × participants calls", async () => {
  const { run, calls } = await patternSite(SPEECHES);
  const result = await run(debate, INPUT);
  expect(result).toMatchObject({ finalOutput: "ann: tea 3\n\nbob: coffee 3", iterations: 3 });
  expect(result.metadata).toEqual({ stopReason: "max_rounds" });
  expect(calls()).toBe(3 * 2);
  const stages = [1, 2, 3].flatMap((round) => [`round ${round} ann`, `round ${round} bob`]);
  expect(result.agentInteractions.map(({ stage }) => stage)).toEqual(stages);

  const [first, , second, bobsSecond, third] = result.agentInteractions.map(({ input }) => input);
  expect(first).toBe("Tea or coffee?");
  expect(second).toMatch(/^You are ann\./);
  expect(bobsSecond).toMatch(/^You are bob\./);
  const roundOne =
    '<round-1 participant="ann">\ntea 1\n</round-1>\n\n<round-1 participant="bob">\ncoffee 1\n</round-1>';
  expect(second).toContain(`<question>\nTea or coffee?\n</question>\n\n${roundOne}`);
  expect(second).not.toContain("tea 2");
  expect(third).toContain(`${roundOne}\n\n<round-2 participant="ann">\ntea 2\n</round-2>`);
});

test("participants of one round speak side by side", async () => {
  const names = ["ann", "bob", "cid", "dot"];
  const speeches = names.map((name) => [name, { reply: name, latencyMs: 600_000 }]);
  const { asksAtOnce } = await patternSite(Object.fromEntries(speeches));
  await asksAtOnce(debate, { ...INPUT, participants: names.map(agent), maxRounds: 1 }, 4);
});

test("a judge hears all and decides; one call more", async () => {
  const { run, calls } = await patternSite({ ...SPEECHES, judge: { json: VERDICT } });
  const result = await run(debate, { ...INPUT, judge: agent("judge"), maxRounds: 2 });
  expect(result).toMatchObject({ finalOutput: "Coffee.", iterations: 2 });
  expect(result.metadata).toEqual({ stopReason: "max_rounds", verdict: VERDICT });
  const hearing = result.agentInteractions.at(-1);
  expect(hearing).toMatchObject({ stage: "verdict", agent: "judge" });
  for (const speech of ["tea 1", "coffee 1", "tea 2", "coffee 2"]) expect(hearing?.input).toContain(speech);
  expect(calls()).toBe(2 * 2 + 1);
});

test("a verdict for someone who did not take part is repaired", async () => {
  const judge = (call: Call) => ({ json: { ...VERDICT, winner: call.turn === 0 ? "eve" : null } });
  const { run } = await patternSite({ ...SPEECHES, judge });
  const result = await run(debate, { ...INPUT, judge: agent("judge"), maxRounds: 1 });
  expect(result.metadata).toMatchObject({ verdict: { winner: null } });
});

test("with judgeDecides false the judge sums up", async () => {
  const { run, calls } = await patternSite({ ...SPEECHES, judge: "Both are hot." });
  const options = { judge: agent("judge"), judgeDecides: false, maxRounds: 1 };
  const result = await run(debate, { ...INPUT, ...options });
  expect(result).toMatchObject({ finalOutput: "Both are hot.", metadata: { stopReason: "max_rounds" } });
  expect(result.agentInteractions.at(-1)?.stage).toBe("summary");
  expect(calls()).toBe(1 * 2 + 1);
});

test("requireConsensus: agreement ends the debate without a verdict; rounds × (participants + 1) calls", async () => {
  const { run, calls } = await patternSite({ ...SPEECHES, judge: [{ json: APART }, { json: AGREED }] });
  const result = await run(debate, { ...INPUT, judge: agent("judge"), requireConsensus: true });
  expect(result).toMatchObject({ finalOutput: "Tea.", iterations: 2 });
  expect(result.metadata).toEqual({ stopReason: "consensus", consensus: [APART, AGREED] });
  const checks = result.agentInteractions.filter(({ stage }) => stage === "consensus");
  expect(checks[1]?.input).toContain("tea 2");
  expect(checks[1]?.input).not.toContain("tea 1");
  expect(calls()).toBe(2 * (2 + 1));
});

test("without agreement the judge decides in the end", async () => {
  const judge = (call: Call) => ({
    json: JSON.stringify(call.answerSchema).includes("winner") ? VERDICT : APART,
  });
  const { run, calls } = await patternSite({ ...SPEECHES, judge });
  const options = { judge: agent("judge"), requireConsensus: true, maxRounds: 2 };
  const result = await run(debate, { ...INPUT, ...options });
  expect(result).toMatchObject({ finalOutput: "Coffee.", iterations: 2 });
  expect(result.metadata).toMatchObject({ stopReason: "max_rounds", consensus: [APART, APART] });
  expect(calls()).toBe(2 * (2 + 1) + 1);
});

test("without a judge a moderator with the first participant's model looks for agreement", async () => {
  const ann = (call: Call) => (call.answerSchema ? { json: AGREED } : "tea");
  const { run, calls } = await patternSite({ ...SPEECHES, ann });
  const result = await run(debate, { ...INPUT, requireConsensus: true });
  expect(result).toMatchObject({ finalOutput: "Tea.", iterations: 1 });
  expect(result.agentInteractions.at(-1)).toMatchObject({ stage: "consensus", agent: "moderator" });
  expect(calls()).toBe(1 * (2 + 1));
});

const FAILING = { error: "400" } as const;

test("a failing participant fails the run, or is left out with onAgentError skip", async () => {
  const { run, calls } = await patternSite({ ...SPEECHES, bob: FAILING, judge: { json: AGREED } });
  await expect(run(debate, INPUT)).rejects.toMatchObject({ code: "invalid_request" });
  const options = {
    onAgentError: "skip",
    requireConsensus: true,
    judge: agent("judge"),
    judgeDecides: false,
  };
  const judged = calls("judge");
  const result = await run(debate, { ...INPUT, ...options, maxRounds: 1 });
  // Not all have spoken: no consensus is looked for.
  expect(result.metadata).toMatchObject({ stopReason: "max_rounds", consensus: [] });
  expect(calls("judge") - judged).toBe(1);
  expect(result.agentInteractions.at(-1)?.input).not.toContain("bob");
});

test("a debate in which all fail fails, also with onAgentError skip", async () => {
  const { run } = await patternSite({ ann: FAILING, bob: FAILING });
  const failed = run(debate, { ...INPUT, onAgentError: "skip" });
  await expect(failed).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  debate,
  "a killed worker: the debate goes on in the round it had come to, and pays for nothing twice",
  async () => {
    const { survivesAKill } = await patternSite({ ...SPEECHES, judge: { json: VERDICT } });
    const result = await survivesAKill(debate, { ...INPUT, judge: agent("judge") }, 3 * 2 + 1);
    expect(result).toMatchObject({ finalOutput: "Coffee.", iterations: 3 });
  },
);

test.each([
  ["no participants", { participants: [] }, /wrong at participants: must have at least two participants/],
  ["one participant", { participants: [agent("ann")] }, /wrong at participants: must have at least two/],
  [
    "two participants of one name",
    { participants: [agent("ann"), agent("ann")] },
    /wrong at participants.1.name: is the name of an earlier participant/,
  ],
  ["0 rounds", { maxRounds: 0 }, /wrong at maxRounds/],
  ["a decision without a judge", { judgeDecides: true }, /wrong at judgeDecides: needs a judge/],
  ["an unknown policy", { onAgentError: "retry" }, /wrong at onAgentError/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(debate, { ...INPUT, ...config })).rejects.toThrow(message);
});
