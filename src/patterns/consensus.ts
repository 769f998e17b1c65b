import { z } from "zod";
import { block } from "./block.ts";
import { type Ballot, count, type Round, toBallot, voteSchema } from "./consensus-vote.ts";
import { agent, definePattern, onAgentError, settleGroup } from "./pattern.ts";

const proposer = z.object({
  agent: agent.describe("proposes, votes and revises"),
  weight: z
    .number()
    .positive("must be above 0")
    .default(1)
    .describe("of its vote, with votingStrategy weighted"),
});

interface Proposal {
  /** What voters know it by: names would invite loyalty. */
  label: string;
  by: string;
  text: string;
  /** The objections of the last vote. */
  objections: string[];
}

/** The tolerance for shares of weights, which add up to a hair less than they should. */
const ROUNDING = 1e-9;

/**
 * The pattern in which agents propose, vote on all proposals, and revise their own with the objections and the others'
 * in view, until enough of them accept one proposal. Voters say for each proposal whether they accept it, and which one
 * they prefer; the latter breaks ties.
 */
export const consensus = definePattern({
  name: "consensus",
  version: 2,
  when: "Several answers are possible, and one is needed that the agents agree on.",
  calls: "2 × proposers × rounds, with 1 to maxRounds rounds",
  source:
    'Chen et al. 2023, "ReConcile: Round-Table Conference Improves Reasoning via Consensus among Diverse LLMs"',
  config: z.object({
    proposers: z
      .array(proposer)
      .min(2, "must have at least two proposers")
      .describe("who proposes and votes, at least two"),
    minAgreementRatio: z
      .number()
      .min(0.5, "must be at least 0.5: less is no agreement")
      .max(1)
      .default(0.7)
      .describe("share of the votes that have to accept a proposal, 0.5 to 1; unanimous asks for all"),
    maxRounds: z.int().min(1).max(20).default(5).describe("of proposing and voting, 1 to 20"),
    votingStrategy: z
      .enum(["majority", "unanimous", "weighted"])
      .default("majority")
      .describe(
        "majority: one vote each; unanimous: all have to vote and accept; weighted: votes count by weight",
      ),
    onAgentError,
  }),
  check({ proposers, votingStrategy }, refuse) {
    const weighted = proposers.findIndex(({ weight }) => weight !== 1);
    if (weighted >= 0 && votingStrategy !== "weighted") {
      refuse(`proposers.${weighted}.weight`, "counts only with votingStrategy weighted");
    }
  },
  async run(_ctx, { input, proposers, minAgreementRatio, maxRounds, votingStrategy, onAgentError }, ask) {
    const needed = votingStrategy === "unanimous" ? 1 : minAgreementRatio;
    const rounds: Round[] = [];
    let proposals: Proposal[] = [];

    /** One that fails keeps its earlier proposal, or proposes in the next round. */
    async function propose(): Promise<Proposal[]> {
      const earlier = proposers.map((_, i) => proposals.find(({ label }) => label === labelOf(i)));
      const asked = proposers.map(async ({ agent }, i): Promise<Proposal> => {
        const own = earlier[i];
        const text = await (own
          ? ask("revise", agent, revisePrompt(input, own, proposals))
          : ask("propose", agent, `Propose an answer to the task.\n\n${block("task", input)}`));
        return { label: labelOf(i), by: agent.name, text, objections: [] };
      });
      const written = await settleGroup(onAgentError, asked);
      return written.flatMap((proposal, i) => proposal ?? earlier[i] ?? []);
    }

    async function vote(): Promise<Ballot[]> {
      const schema = voteSchema(proposals.map(({ label }) => label));
      const prompt = votePrompt(input, proposals);
      const asked = proposers.map(async ({ agent, weight }) =>
        toBallot(agent.name, weight, await ask.structured("vote", agent, prompt, { schema })),
      );
      return (await settleGroup(onAgentError, asked)).filter((ballot) => ballot !== undefined);
    }

    for (;;) {
      proposals = await propose();
      const ballots = await vote();
      const round = count(
        proposals.map(({ label }) => label),
        ballots,
      );
      // Who did not vote has not agreed.
      const isComplete = votingStrategy !== "unanimous" || ballots.length === proposers.length;
      rounds.push(round);
      const { leader, agreementRatio } = round;
      const isAgreed = isComplete && agreementRatio >= needed - ROUNDING;
      if (isAgreed || rounds.length === maxRounds) {
        const winner = proposals.find(({ label }) => label === leader);
        const stopReason = isAgreed ? "agreement" : "max_rounds";
        return {
          finalOutput: winner?.text ?? "",
          iterations: rounds.length,
          metadata: { stopReason, agreementRatio, winner: winner?.by, rounds },
        };
      }
      proposals = proposals.map((proposal) => ({ ...proposal, objections: objectionsTo(proposal, ballots) }));
    }
  },
});

function labelOf(place: number): string {
  return `P${place + 1}`;
}

function objectionsTo({ label }: Proposal, ballots: readonly Ballot[]): string[] {
  const objections = ballots.flatMap((ballot) => ballot.objections);
  return objections.flatMap(({ proposal, objection }) => (proposal === label ? objection : []));
}

function votePrompt(task: string, proposals: readonly Proposal[]): string {
  return [
    "Judge each proposal by how well it does the task. Accept those that you could stand by as they are.",
    block("task", task),
    ...proposals.map(({ label, text }) => block("proposal", text, { label })),
  ].join("\n\n");
}

function revisePrompt(task: string, own: Proposal, proposals: readonly Proposal[]): string {
  const others = proposals.filter((proposal) => proposal !== own);
  return [
    "No proposal has enough agreement yet. Revise yours so that more can accept it.",
    "Answer the objections, take over what the others have right, and keep what you know to be right.",
    "Answer with the whole proposal alone.",
    block("task", task),
    block("your-proposal", own.text),
    block("objections", own.objections.join("\n")),
    ...others.map(({ label, text }) => block("proposal", text, { label })),
  ].join("\n\n");
}
