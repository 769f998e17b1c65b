import { defineReward } from "../../src/index.ts";

/** The number after `####`, as the rows of GSM8K have it, or the last one of a text; without commas and zeros behind the point. */
function finalNumber(text: string): string | undefined {
  const marked = /####\s*([-+]?[\d,]*\.?\d+)/.exec(text)?.[1];
  const found = marked ?? text.match(/[-+]?\d[\d,]*(?:\.\d+)?/g)?.at(-1);
  return found === undefined ? undefined : String(Number(found.replaceAll(",", "")));
}

/** 1 when the last number of the answer is that of the row, else 0; null for a row that has none. */
export const exactAnswer = defineReward({
  name: "exact_answer",
  score: ({ text, row }) => {
    const wanted = finalNumber(String(row.answer ?? ""));
    return wanted === undefined ? null : finalNumber(text) === wanted;
  },
});

/** A short answer is worth a little more. */
export const brevity = defineReward({
  name: "brevity",
  weight: 0.1,
  score: ({ text }) => Math.max(0, 1 - text.length / 1000),
});
