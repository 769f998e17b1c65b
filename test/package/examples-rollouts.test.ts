import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bareMachine } from "../support/bare-machine.ts";
import { exampleSite } from "../support/examples.ts";

const { dataDir, run } = exampleSite();

test("the example of rollouts samples sums, rewards exact answers, and writes data for trainers", {
  tags: "long",
}, async () => {
  const asked = new Map<string, number>();
  const sums = await readFile(join(import.meta.dirname, "../../examples/parts/sums.jsonl"), "utf8");
  const answers = new Map(
    sums
      .trimEnd()
      .split("\n")
      .map((line) => {
        const { question, answer } = JSON.parse(line) as Record<"question" | "answer", string>;
        return [question, answer];
      }),
  );
  const { simulator, env } = await bareMachine(dataDir, {
    answer: ({ lastUserText }) => {
      const nth = asked.get(lastUserText) ?? 0;
      asked.set(lastUserText, nth + 1);
      // Every second sample is wrong, but in the easiest sum.
      const isRight = nth % 2 === 0 || lastUserText.startsWith("What is 1");
      return { reply: isRight ? (answers.get(lastUserText) ?? "") : "I guess it is #### 5" };
    },
  });
  expect(await run("rollouts", env)).toEqual([
    "6 groups of 4, 5 of them with better and worse samples",
    "right: 58 %",
    "a group's advantages add up to 0: true",
    "pairs for DPO: 5",
    "scored again: exact_answer",
  ]);
  expect(simulator.journal.entries()).toHaveLength(24);
});
