import { z } from "zod";
import { block } from "./block.ts";
import { agent, definePattern } from "./pattern.ts";

interface Exchange {
  question: string;
  answer: string;
}

const MODES = {
  peer: {
    first: "Open a dialogue with a peer about the topic: ask the question on which the rest depends.",
    next: "Ask your peer the next question: test an assumption, a definition or a consequence of the answers so far.",
    answer:
      "A peer asks you about the topic. Answer, with your reasons, and say where you are unsure or disagree.",
  },
  teacher_student: {
    first:
      "You teach by questions. Ask your student a first question about the topic that leads to its core.",
    next: "You teach by questions. Ask your student the next one: let them find the gap or the contradiction in their answers themselves; do not tell them.",
    answer:
      "You are the student. Answer your teacher's question as you reason, and correct earlier answers where they were wrong.",
  },
} as const;
type Words = (typeof MODES)[keyof typeof MODES];

const SYNTHESIS =
  "Write what the dialogue came to: what was found, for which reasons, and what stays open. Leave out what it refuted.";

/**
 * The pattern in which one agent asks, another answers, and each question works on the answers before it. The responder
 * writes the synthesis; without one the dialogue itself is the result.
 */
export const socratic = definePattern({
  name: "socratic",
  when: "An idea has to be examined: what it means, what it rests on, where it fails.",
  calls: "2 × maxExchanges + (synthesisAtEnd ? 1 : 0)",
  source: 'Chang 2023, "Prompting Large Language Models With the Socratic Method"',
  config: z.object({
    questioner: agent.describe("asks"),
    responder: agent.describe("answers, and writes the synthesis"),
    maxExchanges: z.int().min(1).max(100).default(5).describe("questions with their answers, 1 to 100"),
    mode: z
      .enum(["peer", "teacher_student"])
      .default("peer")
      .describe("both look for the answer; or the questioner leads the responder to it"),
    synthesisAtEnd: z.boolean().default(true).describe("a text of what was found, in place of the dialogue"),
  }),
  async run(_ctx, { input, questioner, responder, maxExchanges, mode, synthesisAtEnd }, ask) {
    const words = MODES[mode];
    const exchanges: Exchange[] = [];
    while (exchanges.length < maxExchanges) {
      const question = await ask("question", questioner, questionPrompt(words, input, exchanges));
      const answer = await ask("answer", responder, answerPrompt(words, input, exchanges, question));
      exchanges.push({ question, answer });
    }
    const finalOutput = synthesisAtEnd
      ? await ask("synthesis", responder, [SYNTHESIS, block("topic", input), ...said(exchanges)].join("\n\n"))
      : exchanges
          .map(({ question, answer }, i) => `Q${i + 1}: ${question}\nA${i + 1}: ${answer}`)
          .join("\n\n");
    return {
      finalOutput,
      iterations: exchanges.length,
      metadata: { stopReason: "max_exchanges", mode, exchanges },
    };
  },
});

function questionPrompt({ first, next }: Words, topic: string, exchanges: readonly Exchange[]): string {
  const task = `${exchanges.length === 0 ? first : next} Answer with one question alone.`;
  return [task, block("topic", topic), ...said(exchanges)].join("\n\n");
}

function answerPrompt(words: Words, topic: string, exchanges: readonly Exchange[], question: string): string {
  return [words.answer, block("topic", topic), ...said(exchanges), block("question", question)].join("\n\n");
}

function said(exchanges: readonly Exchange[]): string[] {
  return exchanges.flatMap(({ question, answer }, i) => [
    block(`question-${i + 1}`, question),
    block(`answer-${i + 1}`, answer),
  ]);
}
