import { z } from "zod";
import { block } from "./block.ts";
import { agent, definePattern, secondOfName } from "./pattern.ts";

interface Contribution {
  round: number;
  agent: string;
  text: string;
}

interface Style {
  /** The order to an agent: what it does with what is there. */
  turn: string;
  /** Returns the contributions that the next agent, and the synthesis, are shown. */
  shown: (contributions: readonly Contribution[], agents: number) => readonly Contribution[];
  /** Returns the result without a synthesis. */
  joined: (contributions: readonly Contribution[]) => string;
}

const STYLES: Record<"extend" | "refine" | "challenge", Style> = {
  extend: {
    turn: "Add to the contributions what they lack: new points, parts, evidence. Answer with your addition alone.",
    shown: (all) => all,
    joined: (all) => all.map(({ text }) => text).join("\n\n"),
  },
  refine: {
    turn: "Improve the last contribution: correct, clarify, complete and tighten it. Answer with the whole new text alone.",
    // Each is a whole text that takes up those before: one round of them holds every agent's word.
    shown: (all, agents) => all.slice(-agents),
    joined: (all) => all.at(-1)?.text ?? "",
  },
  challenge: {
    turn: "Challenge the contributions: name what is wrong, unproven or left out, give your reasons, and say what holds instead.",
    shown: (all) => all,
    joined: (all) => all.map(({ round, agent, text }) => `[${agent}, round ${round}]\n${text}`).join("\n\n"),
  },
};
const OPENING =
  "You are the first of several agents to work on the task in turn. Write the first contribution to it.";
const SYNTHESIS =
  "Several agents worked on the task in turn. Do the task with what they contributed: keep what holds, settle what is in dispute, leave out what was refuted or is said twice. Answer with the result alone.";

/**
 * The pattern in which agents take turns at one task, each seeing what the others wrote. `extend` gathers additions,
 * `refine` passes one text on, `challenge` gathers objections. The first agent writes the synthesis; without one the
 * result is the additions as one text, the last text, or the objections under their authors' names.
 */
export const roundRobin = definePattern({
  name: "round-robin",
  version: 2,
  when: "A task needs several kinds of knowledge that build on each other.",
  calls: "agents × maxRounds + (finalSynthesis ? 1 : 0)",
  source: 'Wu et al. 2023, "AutoGen: Enabling Next-Gen LLM Applications via Multi-Agent Conversation"',
  config: z.object({
    agents: z
      .array(agent)
      .min(1, "must have at least one agent")
      .describe(
        "in the order of their turns, each with a name of its own; the first one writes the synthesis",
      ),
    maxRounds: z.int().min(1).max(100).default(3).describe("turns of each agent, 1 to 100"),
    contributionStyle: z
      .enum(["extend", "refine", "challenge"])
      .default("extend")
      .describe("add to what the others wrote, rewrite it, or object to it"),
    finalSynthesis: z.boolean().default(true).describe("one text made of the contributions at the end"),
  }),
  check({ agents }, refuse) {
    const twice = secondOfName(agents);
    if (twice >= 0) refuse(`agents.${twice}.name`, "is the name of an earlier agent");
  },
  async run(_ctx, { input, agents, maxRounds, contributionStyle, finalSynthesis }, ask) {
    const { turn, shown, joined } = STYLES[contributionStyle];
    const contributions: Contribution[] = [];
    const prompt = (words: string) => {
      const blocks = shown(contributions, agents.length).map(({ round, agent, text }) =>
        block(`round-${round}`, text, { agent }),
      );
      return [words, block("task", input), ...blocks].join("\n\n");
    };

    for (let round = 1; round <= maxRounds; round++) {
      for (const agent of agents) {
        const text = await ask("contribution", agent, prompt(contributions.length === 0 ? OPENING : turn));
        contributions.push({ round, agent: agent.name, text });
      }
    }
    const [first] = agents;
    const finalOutput =
      finalSynthesis && first ? await ask("synthesis", first, prompt(SYNTHESIS)) : joined(contributions);
    return {
      finalOutput,
      iterations: maxRounds,
      metadata: { stopReason: "max_rounds", contributionStyle, contributions },
    };
  },
});
