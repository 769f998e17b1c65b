import { z } from "zod";
import { block } from "./block.ts";
import { agent, definePattern } from "./pattern.ts";

const INCREMENTS = {
  entities: "entities (names, dates, places, numbers, terms)",
  details: "details (circumstances, reasons, qualifications)",
  examples: "examples (cases, instances, evidence)",
} as const;

/** How many times as long as the first text a denser one may be; a longer one is shortened once. */
const MAX_GROWTH = 1.2;

const denserSchema = z.object({
  missing: z
    .array(z.string())
    .max(3)
    .describe("up to 3 that matter and that the text lacks; empty when it lacks none"),
  text: z.string().min(1).describe("the text with what was missing"),
});

/**
 * The pattern that makes a text denser: the first one has little in it, and each further one names up to three things
 * that are missing and works them in by rewording what is there. It ends early when nothing is missing. A text that
 * grew by over a fifth is shortened (`preserveLength`).
 */
export const chainOfDensity = definePattern({
  name: "chain-of-density",
  when: "A text has to say as much as it can in a bounded length, such as a summary.",
  calls:
    "numIterations at most; with preserveLength one more for each text that grew too long, 2 × numIterations − 1 in all",
  source: 'Adams et al. 2023, "From Sparse to Dense: GPT-4 Summarization with Chain of Density Prompting"',
  config: z.object({
    generator: agent.describe("writes each text"),
    numIterations: z.int().min(1).max(50).default(5).describe("texts, the first one included, 1 to 50"),
    densityIncrement: z
      .enum(["entities", "details", "examples"])
      .default("entities")
      .describe("what each text adds to the one before"),
    preserveLength: z
      .boolean()
      .default(true)
      .describe("keeps to the first text's length in characters; otherwise the text may grow"),
  }),
  async run(_ctx, { input, generator, numIterations, densityIncrement, preserveLength }, ask) {
    let text = await ask("first", generator, firstPrompt(input, densityIncrement));
    const targetChars = text.length;
    const room = preserveLength ? lengthOf(targetChars) : "The text may grow by what is added.";
    const added: string[][] = [];
    const lengths = [targetChars];
    let stopReason = "num_iterations";

    while (lengths.length < numIterations) {
      const prompt = denserPrompt(input, text, densityIncrement, room);
      const denser = await ask.structured("denser", generator, prompt, { schema: denserSchema });
      if (denser.missing.length === 0) {
        stopReason = "nothing_missing";
        break;
      }
      const isTooLong = preserveLength && denser.text.length > MAX_GROWTH * targetChars;
      text = isTooLong ? await ask("shorten", generator, shorterPrompt(denser.text, room)) : denser.text;
      added.push(denser.missing);
      lengths.push(text.length);
    }
    return { finalOutput: text, iterations: lengths.length, metadata: { stopReason, added, lengths } };
  },
});

function firstPrompt(input: string, increment: keyof typeof INCREMENTS): string {
  return [
    `Do the task in a first version that has few ${INCREMENTS[increment]}. Answer with the text alone.`,
    block("task", input),
  ].join("\n\n");
}

function denserPrompt(input: string, text: string, increment: keyof typeof INCREMENTS, room: string): string {
  return [
    `Find 1 to 3 things that matter to the task, are true to it and are missing from the text: ${INCREMENTS[increment]}. ` +
      "Then write the text anew with them. Keep all that the text has; make space by fusing and compressing.",
    room,
    block("task", input),
    block("text", text),
  ].join("\n\n");
}

function shorterPrompt(text: string, room: string): string {
  return [
    "The text is too long. Shorten it by fusing and compressing, without leaving out what it names. Answer with the text alone.",
    room,
    block("text", text),
  ].join("\n\n");
}

function lengthOf(chars: number): string {
  return `The length: about ${chars} characters.`;
}
