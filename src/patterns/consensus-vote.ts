import { z } from "zod";

/** What one voter said of all proposals. */
export interface Ballot {
  voter: string;
  weight: number;
  accepted: string[];
  preferred: string;
  objections: { proposal: string; objection: string }[];
}

/** What came of a vote; who failed to vote does not count. */
export interface Round {
  /** The label of the proposal that most accept; of several, the one that most prefer. */
  leader: string;
  /** The share of the votes that accept the leader. */
  agreementRatio: number;
  /** The share of the votes that accept a proposal, by its label. */
  ratios: Record<string, number>;
  votes: Pick<Ballot, "voter" | "accepted" | "preferred">[];
}

/** Returns the schema of a vote on the proposals of these labels. */
export function voteSchema(labels: readonly string[]) {
  const label = z.enum(labels);
  const assessment = z.object({
    proposal: label,
    objection: z.string().describe("what stands against it; empty when nothing does"),
    accepts: z.boolean().describe("true when you could stand by it as it is"),
  });
  return z.object({
    assessments: z.array(assessment).describe("one for each proposal"),
    preferred: label.describe("the best one"),
  });
}

/** Returns a vote as it is counted. */
export function toBallot(
  voter: string,
  weight: number,
  { assessments, preferred }: z.output<ReturnType<typeof voteSchema>>,
): Ballot {
  const accepted = assessments.flatMap(({ proposal, accepts }) => (accepts ? proposal : []));
  const objections = assessments.filter(({ objection }) => objection.trim() !== "");
  return { voter, weight, accepted: [...new Set(accepted)], preferred, objections };
}

/** Returns what came of the votes on proposals. */
export function count(labels: readonly string[], ballots: readonly Ballot[]): Round {
  const share = (counts: (ballot: Ballot) => boolean) => weightOf(ballots.filter(counts)) / weightOf(ballots);
  const ranked = labels
    .map((label) => ({
      label,
      ratio: share(({ accepted }) => accepted.includes(label)),
      preference: share(({ preferred }) => preferred === label),
    }))
    .sort((a, b) => b.ratio - a.ratio || b.preference - a.preference);
  const [leader] = ranked;
  return {
    leader: leader?.label ?? "",
    agreementRatio: leader?.ratio ?? 0,
    ratios: Object.fromEntries(ranked.map(({ label, ratio }) => [label, ratio])),
    votes: ballots.map(({ voter, accepted, preferred }) => ({ voter, accepted, preferred })),
  };
}

function weightOf(ballots: readonly Ballot[]): number {
  return ballots.reduce((sum, { weight }) => sum + weight, 0);
}
