import { defineEnvironment, defineJudge, defineReward } from "../../src/index.ts";

/** 1 for samples of even digits at the end of the text, so that most groups have both. */
export const even = defineReward({ name: "even", score: ({ text }) => text.length % 2 === 0 });
export const short = defineReward({ name: "short", weight: 0.5, score: ({ text }) => -text.length / 100 });

/** Not among the exports, so that no module brings them by accident. */
export const odd = {
  throwing: defineReward({
    name: "throwing",
    score: () => {
      throw new RangeError("no such row");
    },
  }),
  nan: defineReward({ name: "nan", score: () => Number.NaN }),
  none: defineReward({ name: "none", score: () => null }),
  slow: defineReward({ name: "slow", timeoutMs: 30, score: () => new Promise<number>(() => {}) }),
  changing: defineReward({
    name: "changing",
    score: (sample) => {
      sample.completion.length = 0;
      return 1;
    },
  }),
  judge: defineJudge({ name: "judged", model: "simulator:judge", question: ({ text }) => `Judge: ${text}` }),
  replies: defineEnvironment("replies", ({ completion }) => (completion.length < 3 ? "Go on." : null)),
};
