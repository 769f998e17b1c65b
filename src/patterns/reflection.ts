import { z } from "zod";
import { block } from "./block.ts";
import { agent, definePattern } from "./pattern.ts";

const reflectionSchema = z.object({
  issues: z
    .array(z.string())
    .describe("what is wrong or missing, each with its place; empty when nothing is"),
  suggestions: z.array(z.string()).describe("what to do about the issues"),
  score: z.number().min(0).max(1).describe("how well the text does the task: 0 not at all, 1 fully"),
});
type Reflection = z.infer<typeof reflectionSchema>;

const REFLECT =
  "Judge how well the text does the task. Name what is wrong or missing, and what to do about it.";

/**
 * The pattern in which one agent writes, looks back at what it wrote, and writes again with all that it learned so far.
 * It ends when a reflection names no issue, when the score gained less than `improvementThreshold` over the version
 * before (the better of the two is the result), or after the last revision, which is not judged any more.
 */
export const reflection = definePattern({
  name: "reflection",
  when: "One agent can find the faults of its own work, given a second look.",
  calls: "1 + 2 × maxReflections at most; 2 × r when it ends at reflection r",
  source: 'Shinn et al. 2023, "Reflexion: Language Agents with Verbal Reinforcement Learning"',
  config: z.object({
    generator: agent.describe("writes and revises"),
    reflector: agent.optional().describe("reflects on each version; default the generator"),
    maxReflections: z.int().min(1).max(100).default(3).describe("reflections before it ends, 1 to 100"),
    improvementThreshold: z
      .number()
      .min(0)
      .max(1)
      .optional()
      .describe(
        "ends when a version's score, 0 to 1, gains less than this over the one before; default never",
      ),
    reflectionPrompt: z
      .string()
      .trim()
      .min(1, "must not be empty")
      .default(REFLECT)
      .describe("what the reflector is told to do; task, text and earlier reflections follow it"),
  }),
  async run(_ctx, config, ask) {
    const { input, generator, reflector = generator, maxReflections, improvementThreshold } = config;
    const reflections: Reflection[] = [];
    const done = (finalOutput: string, stopReason: string) => ({
      finalOutput,
      iterations: reflections.length,
      metadata: { stopReason, scores: reflections.map(({ score }) => score), reflections },
    });

    let text = await ask("draft", generator, input);
    let before = text;
    while (reflections.length < maxReflections) {
      const prompt = [
        config.reflectionPrompt,
        block("task", input),
        block("text", text),
        ...lessons(reflections),
      ];
      const found = await ask.structured("reflect", reflector, prompt.join("\n\n"), {
        schema: reflectionSchema,
      });
      const gain = found.score - (reflections.at(-1)?.score ?? Number.NEGATIVE_INFINITY);
      reflections.push(found);
      if (found.issues.length === 0) return done(text, "no_issues");
      // What 0.6 - 0.5 lacks to 0.1 is no lack of improvement.
      if (improvementThreshold !== undefined && gain < improvementThreshold - Number.EPSILON) {
        return done(gain < 0 ? before : text, "converged");
      }
      before = text;
      text = await ask("revise", generator, revisePrompt(input, text, reflections));
    }
    return done(text, "max_reflections");
  },
});

function revisePrompt(task: string, text: string, reflections: readonly Reflection[]): string {
  return [
    "Write the text anew: resolve the issues of the last reflection, and do not bring back those of earlier ones.",
    "Answer with the text alone.",
    block("task", task),
    block("text", text),
    ...lessons(reflections),
  ].join("\n\n");
}

/** Returns the memory of earlier tries: without it, one revision undoes what the other mended. */
function lessons(reflections: readonly Reflection[]): string[] {
  return reflections.map(({ issues, suggestions }, i) => {
    const list = [
      ...issues.map((issue) => `Issue: ${issue}`),
      ...suggestions.map((it) => `Suggestion: ${it}`),
    ];
    return block(`reflection-${i + 1}`, list.join("\n"));
  });
}
