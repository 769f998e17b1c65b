import { expect, test } from "vitest";
import { consensus } from "../../src/index.ts";
import type { Call } from "../../src/simulator/call.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";
import { slowScript } from "../support/slow-script.ts";

const NAMES = ["ada", "bob", "cat"] as const;
const proposers = (weights: readonly number[] = []) =>
  NAMES.map((name, i) => ({ agent: { name, model: `simulator:${name}` }, weight: weights[i] }));
const input = "Name the bridge.";

/** A vote that accepts some of the proposals and prefers one, by default the first of them. */
function vote(accepted: readonly string[], preferred = accepted[0], proposals = ["P1", "P2", "P3"]) {
  const assessments = proposals.map((proposal) => {
    const accepts = accepted.includes(proposal);
    return { proposal, objection: accepts ? "" : `${proposal} is too long`, accepts };
  });
  return { json: { assessments, preferred } };
}
const isVote = (call: Call) => call.answerSchema !== undefined;
const round = (call: Call) => (call.lastUserText.includes("<your-proposal>") ? 2 : 1);

/** Proposals are `ada 1`, revised `ada 2`; each votes the same in every round. */
function script(votes: Record<(typeof NAMES)[number], ReturnType<typeof vote>>) {
  const entries = NAMES.map((name) => {
    return [name, (call: Call) => (isVote(call) ? votes[name] : `${name} ${round(call)}`)] as const;
  });
  return Object.fromEntries(entries);
}

test("proposals that most accept end it in the first round: two calls per proposer", async () => {
  const { run, calls } = await patternSite(
    script({ ada: vote(["P1", "P2"], "P2"), bob: vote(["P2"]), cat: vote(["P2"]) }),
  );
  const result = await run(consensus, { input, proposers: proposers() });
  expect(result).toMatchObject({
    finalOutput: "bob 1",
    iterations: 1,
    metadata: {
      stopReason: "agreement",
      agreementRatio: 1,
      winner: "bob",
      rounds: [{ leader: "P2", ratios: { P1: 1 / 3, P2: 1, P3: 0 } }],
    },
  });
  expect(calls()).toBe(2 * 3 * 1);
  expect(result.agentInteractions.map(({ stage, agent }) => `${stage} ${agent}`)).toEqual([
    ...NAMES.map((name) => `propose ${name}`),
    ...NAMES.map((name) => `vote ${name}`),
  ]);
});

test("without agreement each revises with the objections to its own and the others' proposals in view", async () => {
  const revisions: string[] = [];
  const { run, calls } = await patternSite(
    Object.fromEntries(
      NAMES.map((name, i) => [
        name,
        (call) => {
          if (!isVote(call) && round(call) === 2) revisions.push(call.lastUserText);
          if (!isVote(call)) return `${name} ${round(call)}`;
          return call.lastUserText.includes("ada 2") ? vote(["P3"]) : vote([`P${i + 1}`]);
        },
      ]),
    ),
  );
  const result = await run(consensus, { input, proposers: proposers() });
  expect(result).toMatchObject({
    finalOutput: "cat 2",
    iterations: 2,
    metadata: { stopReason: "agreement", rounds: [{ agreementRatio: 1 / 3 }, { agreementRatio: 1 }] },
  });
  expect(calls()).toBe(2 * 3 * 2);
  expect(revisions).toHaveLength(3);
  const [ofAda] = revisions.filter((text) => text.includes("<your-proposal>\nada 1"));
  expect(ofAda).toContain("<objections>\nP1 is too long\nP1 is too long\n</objections>");
  expect(ofAda).toContain(
    '<proposal label="P2">\nbob 1\n</proposal>\n\n<proposal label="P3">\ncat 1\n</proposal>',
  );
  expect(ofAda).not.toContain("P2 is too long");
});

const SPLIT = script({ ada: vote(["P1"]), bob: vote(["P1", "P2"], "P2"), cat: vote(["P3"]) });

test.each([
  ["a majority", { votingStrategy: "majority", minAgreementRatio: 0.6 }, "agreement", 2 / 3, 6],
  ["a majority that is too small", { votingStrategy: "majority" }, "max_rounds", 2 / 3, 12],
  ["all have to accept", { votingStrategy: "unanimous", minAgreementRatio: 0.6 }, "max_rounds", 2 / 3, 12],
  ["heavy votes", { votingStrategy: "weighted", proposers: proposers([3, 1, 1]) }, "agreement", 0.8, 6],
  ["light votes", { votingStrategy: "weighted", proposers: proposers([1, 1, 3]) }, "max_rounds", 0.6, 12],
])("%s", async (_what, config, stopReason, agreementRatio, expected) => {
  const { run, calls } = await patternSite(SPLIT);
  const result = await run(consensus, { input, proposers: proposers(), maxRounds: 2, ...config });
  expect(result.metadata).toMatchObject({ stopReason });
  expect(result.metadata.agreementRatio).toBeCloseTo(agreementRatio);
  expect(calls()).toBe(expected);
});

test("of proposals that equally many accept, the one that most prefer wins", async () => {
  const all = ["P1", "P2", "P3"];
  const { run } = await patternSite(
    script({ ada: vote(all, "P1"), bob: vote(all, "P3"), cat: vote(all, "P3") }),
  );
  expect(await run(consensus, { input, proposers: proposers() })).toMatchObject({ finalOutput: "cat 1" });
});

test("skip: one that fails to propose does so in the next round, and one that fails to vote does not count", async () => {
  const { run, calls } = await patternSite({
    ada: (call) => (isVote(call) ? vote(["P1"], "P1", ["P1", "P3"]) : `ada ${round(call)}`),
    bob: (call) => {
      if (isVote(call)) return { error: "400" };
      return round(call) === 1 ? { error: "400", errorTimes: 1, reply: "bob at last" } : "bob again";
    },
    cat: (call) => {
      if (!isVote(call)) return `cat ${round(call)}`;
      return call.lastUserText.includes("bob at last") ? vote(["P2"]) : vote(["P3"], "P3", ["P1", "P3"]);
    },
  });
  const result = await run(consensus, { input, proposers: proposers(), maxRounds: 2, onAgentError: "skip" });
  const [first, second] = result.metadata.rounds as { ratios: object; votes: { voter: string }[] }[];
  expect(first?.ratios).toEqual({ P1: 0.5, P3: 0.5 });
  expect(first?.votes.map(({ voter }) => voter)).toEqual(["ada", "cat"]);
  expect(second?.ratios).toEqual({ P1: 0.5, P2: 0.5, P3: 0 });
  expect(calls()).toBe(2 * 3 * 2);
});

test("those who voted are not unanimous for one that failed to vote", async () => {
  const { run } = await patternSite({
    ada: (call) => (isVote(call) ? vote(["P1"]) : "ada"),
    bob: (call) => (isVote(call) ? vote(["P1"]) : "bob"),
    cat: (call) => (isVote(call) ? { error: "400" } : "cat"),
  });
  const config = {
    input,
    proposers: proposers(),
    maxRounds: 1,
    onAgentError: "skip",
    votingStrategy: "unanimous",
  };
  const { metadata } = await run(consensus, config);
  expect(metadata).toMatchObject({ stopReason: "max_rounds", agreementRatio: 1 });
});

test("fail: a proposer that fails ends the run with its error; skip: so do all of them", async () => {
  const broken = Object.fromEntries(NAMES.map((name) => [name, { error: "400" } as const]));
  const { run } = await patternSite({ ...SPLIT, bob: { error: "400" } });
  const refused = { code: "invalid_request" };
  await expect(run(consensus, { input, proposers: proposers() })).rejects.toMatchObject(refused);
  const other = await patternSite(broken);
  const skipping = { input, proposers: proposers(), onAgentError: "skip" };
  await expect(other.run(consensus, skipping)).rejects.toMatchObject(refused);
});

killTest(consensus, "a killed worker: the run goes on in the round it had come to", async () => {
  const { survivesAKill, calls } = await patternSite(slowScript(SPLIT));
  const result = await survivesAKill(consensus, { input, proposers: proposers(), maxRounds: 2 }, 12);
  expect(calls()).toBeLessThanOrEqual(12 + 3);
  expect(result).toMatchObject({ finalOutput: "ada 2", metadata: { stopReason: "max_rounds" } });
});

test.each([
  ["no proposers", { proposers: [] }, /wrong at proposers: must have at least two/],
  ["a single one", { proposers: proposers().slice(1, 2) }, /wrong at proposers: must have at least two/],
  ["no rounds", { maxRounds: 0 }, /wrong at maxRounds/],
  ["a minority", { minAgreementRatio: 0.4 }, /wrong at minAgreementRatio: must be at least 0.5/],
  ["more than all", { minAgreementRatio: 1.1 }, /wrong at minAgreementRatio/],
  ["an unknown vote", { votingStrategy: "loudest" }, /wrong at votingStrategy/],
  [
    "a weight below 0",
    { votingStrategy: "weighted", proposers: proposers([1, -1, 1]) },
    /wrong at proposers.1.weight: must be above 0/,
  ],
  [
    "weights that do not count",
    { proposers: proposers([1, 2, 1]) },
    /wrong at proposers.1.weight: counts only with votingStrategy weighted/,
  ],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(consensus, { input, proposers: proposers(), ...config })).rejects.toThrow(
    message,
  );
});
