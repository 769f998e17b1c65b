import { z } from "zod";
import type { AgentSpec } from "../shared/agent.ts";
import { block } from "./block.ts";
import { type Ask, agent, definePattern, onAgentError, secondOfName, settleGroup } from "./pattern.ts";

const config = z.object({
  participants: z
    .array(agent)
    .min(2, "must have at least two participants")
    .describe("argue, side by side in a round; each needs a name of its own"),
  judge: agent.optional().describe("hears the whole debate at its end"),
  maxRounds: z.int().min(1).default(3).describe("in each of which every participant speaks once"),
  requireConsensus: z
    .boolean()
    .default(false)
    .describe("whether the positions agree is looked at after each round, and agreement ends the debate"),
  judgeDecides: z
    .boolean()
    .optional()
    .describe(
      "whether the judge's decision is the result, or its summary of where the positions agree and differ; default true with a judge",
    ),
  onAgentError,
});

interface Statement {
  round: number;
  participant: string;
  text: string;
}

const consensusSchema = z.object({
  differences: z.array(z.string()).describe("what still separates the positions"),
  position: z
    .string()
    .min(1)
    .nullable()
    .describe(
      "the complete answer to the question that all positions give; null if they do not agree on one",
    ),
});

/**
 * The pattern in which participants argue over a question in rounds; each sees what all said in the rounds before, and
 * may change its mind. It ends when they agree (`requireConsensus`) or after `maxRounds`. The result is the position
 * agreed on; without agreement the judge's decision or summary; without a judge the last positions.
 */
export const debate = definePattern({
  name: "debate",
  version: 2,
  when: "A question has several defensible answers, or one model's errors should be caught by others.",
  calls:
    "rounds × (participants + 1 if requireConsensus) + 1 if there is a judge and no consensus, rounds ≤ maxRounds",
  source:
    "Du et al. (2023), Improving Factuality and Reasoning in Language Models through Multiagent Debate; Irving et al. (2018), AI Safety via Debate",
  config,
  check({ participants, judge, judgeDecides }, refuse) {
    const twice = secondOfName(participants);
    if (twice >= 0) refuse(`participants.${twice}.name`, "is the name of an earlier participant");
    if (judgeDecides && !judge) refuse("judgeDecides", "needs a judge");
  },
  async run(ctx, { input, ...config }, ask) {
    const { participants, judge, judgeDecides = true, maxRounds, requireConsensus, onAgentError } = config;
    const transcript: Statement[] = [];
    const consensus: z.infer<typeof consensusSchema>[] = [];
    let heard: Statement[] = [];
    const done = (stopReason: string, finalOutput: string, found: object = {}) => ({
      finalOutput,
      iterations: transcript.at(-1)?.round ?? 0,
      metadata: { stopReason, ...(requireConsensus && { consensus }), ...found },
    });
    for (let round = 1; round <= maxRounds; round++) {
      const statements = participants.map(async (participant) => {
        const { name } = participant;
        const prompt = round === 1 ? input : promptOf(`You are ${name}. ${REPLY}`, input, transcript);
        return { round, participant: name, text: await ask(`round ${round} ${name}`, participant, prompt) };
      });
      heard = (await settleGroup(onAgentError, statements)).filter((statement) => statement !== undefined);
      transcript.push(...heard);
      // Those who are left do not agree for those who failed; version 1 took them to.
      const needed = ctx.version === 1 ? 2 : participants.length;
      if (!requireConsensus || heard.length < needed) continue;
      const found = await lookForConsensus(ask, judge ?? moderator(participants), input, heard);
      consensus.push(found);
      if (found.position !== null) return done("consensus", found.position);
    }
    if (!judge) return done("max_rounds", heard.map(asText).join("\n\n"));
    if (!judgeDecides)
      return done("max_rounds", await ask("summary", judge, promptOf(SUM_UP, input, transcript)));
    const verdict = await decide(ask, judge, participants, promptOf(DECIDE, input, transcript));
    return done("max_rounds", verdict.decision, { verdict });
  },
});

const REPLY =
  "Answer the strongest arguments against your position, and correct it where they are right. Then state it, complete.";
const AGREE = "Do these positions give the same answer to the question?";
const SUM_UP = "Sum up the debate: where the positions agree, where they differ and why. Do not decide it.";
const DECIDE = "Decide the debate by its arguments, not by who is in the majority.";

/** Returns an agent with the first participant's model, and none of its views. */
function moderator([first]: readonly AgentSpec[]): AgentSpec {
  const systemPrompt = "You moderate a debate and take no side.";
  return {
    name: "moderator",
    description: "Says whether positions agree.",
    systemPrompt,
    model: first?.model,
  };
}

function lookForConsensus(ask: Ask, who: AgentSpec, question: string, positions: readonly Statement[]) {
  return ask.structured("consensus", who, promptOf(AGREE, question, positions), { schema: consensusSchema });
}

function decide(ask: Ask, judge: AgentSpec, participants: readonly AgentSpec[], prompt: string) {
  const names = participants.map(({ name }) => name);
  const schema = z.object({
    reasoning: z.string().describe("the arguments that decided, and those that failed"),
    decision: z.string().min(1).describe("the complete answer to the question"),
    winner: z.enum(names).nullable().describe("whose case was the strongest; null if no one's"),
  });
  return ask.structured("verdict", judge, prompt, { schema });
}

function promptOf(order: string, question: string, statements: readonly Statement[]): string {
  const blocks = statements.map((statement) =>
    block(`round-${statement.round}`, statement.text, { participant: statement.participant }),
  );
  return [order, block("question", question), ...blocks].join("\n\n");
}

function asText({ participant, text }: Statement): string {
  return `${participant}: ${text}`;
}
