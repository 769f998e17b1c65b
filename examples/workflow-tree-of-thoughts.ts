/** Tree of thoughts on a puzzle whose answer is checked by code. In your project: `from "gluellm"`. */
import { GlueLLM, treeOfThoughts } from "../src/index.ts";
import { evaluate } from "./parts/arithmetic.ts";

const NUMBERS = [4, 9, 10, 13];

await using glue = new GlueLLM();

const run = await glue.workflows.start(treeOfThoughts, {
  input: `Make 24 of ${NUMBERS.join(", ")}, with + - * / and brackets. Use each number once.`,
  thinker: {
    name: "thinker",
    systemPrompt:
      "You play the game of 24. A thought is one operation on two of the numbers that are left, and what is left then: " +
      "13 - 9 = 4 (left: 4, 4, 10). As the answer give one expression alone.",
  },
  evaluator: {
    name: "judge",
    systemPrompt: "You judge positions of the game of 24: 1 if 24 can still be made, 0 if it cannot.",
  },
  // Two thoughts follow on each of the best two, to the third operation: the last one of four numbers.
  branchingFactor: 2,
  beamWidth: 2,
  maxDepth: 3,
  pruneThreshold: 0.2,
});
const { finalOutput, agentInteractions, metadata } = await run.result();

const { thoughts, bestLine, stopReason } = metadata as {
  thoughts: { id: number; depth: number; text: string; score: number | null }[];
  bestLine: number[];
  stopReason: string;
};
for (const { id, depth, text, score } of thoughts) {
  console.log(`${"  ".repeat(depth - 1)}${bestLine.includes(id) ? "+" : "-"} ${text} [${score}]`);
}
console.log(`${stopReason} after ${agentInteractions.length} calls: ${finalOutput}`);
console.log(`right: ${isRight(finalOutput)}`);

/** Whether the answer's last line, up to a "=", makes 24 of these numbers. */
function isRight(answer: string): boolean {
  const [expression = ""] = answer.trim().split("\n").at(-1)?.split("=") ?? [];
  const used = expression.match(/\d+/g)?.map(Number) ?? [];
  const isUsedOnce = used.sort((a, b) => a - b).join() === NUMBERS.toSorted((a, b) => a - b).join();
  return isUsedOnce && Math.abs(evaluate(expression) - 24) < 1e-9;
}
