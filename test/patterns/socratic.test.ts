import { expect, test } from "vitest";
import { Agent, socratic } from "../../src/index.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

function agent(name: string) {
  const words = { description: `The ${name}.`, systemPrompt: `You are the ${name}.` };
  return new Agent({ name, ...words, model: `simulator:${name}` });
}
const CONFIG = { input: "What is a tide?", questioner: agent("questioner"), responder: agent("responder") };
const QUESTIONS = ["Why twice?", "Why not at noon?"];
const ANSWERS = ["Two bulges.", "The moon moves.", "A tide is a bulge that stays under the moon."];
const SCRIPT = { questioner: QUESTIONS, responder: ANSWERS };

test("each question works on the answers so far; 2 × maxExchanges + 1 calls", async () => {
  const { run, calls } = await patternSite(SCRIPT);
  const result = await run(socratic, { ...CONFIG, maxExchanges: 2 });
  expect(result).toMatchObject({
    finalOutput: ANSWERS[2],
    iterations: 2,
    metadata: {
      stopReason: "max_exchanges",
      mode: "peer",
      exchanges: [
        { question: "Why twice?", answer: "Two bulges." },
        { question: "Why not at noon?", answer: "The moon moves." },
      ],
    },
  });
  expect(calls()).toBe(2 * 2 + 1);
  const stages = result.agentInteractions.map(({ stage, agent }) => `${stage} ${agent}`);
  const exchange = ["question questioner", "answer responder"];
  expect(stages).toEqual([...exchange, ...exchange, "synthesis responder"]);

  const topic = "<topic>\nWhat is a tide?\n</topic>";
  const first = "<question-1>\nWhy twice?\n</question-1>\n\n<answer-1>\nTwo bulges.\n</answer-1>";
  const second = "<question-2>\nWhy not at noon?\n</question-2>\n\n<answer-2>\nThe moon moves.\n</answer-2>";
  const shown = result.agentInteractions.map(({ input }) => input.slice(input.indexOf("<topic>")));
  expect(shown).toEqual([
    topic,
    `${topic}\n\n<question>\nWhy twice?\n</question>`,
    `${topic}\n\n${first}`,
    `${topic}\n\n${first}\n\n<question>\nWhy not at noon?\n</question>`,
    `${topic}\n\n${first}\n\n${second}`,
  ]);
});

test("five exchanges by default", async () => {
  const { run, calls } = await patternSite(SCRIPT);
  expect(await run(socratic, CONFIG)).toMatchObject({ iterations: 5 });
  expect(calls("questioner")).toBe(5);
  expect(calls("responder")).toBe(6);
});

test("without a synthesis the dialogue is the result; 2 × maxExchanges calls", async () => {
  const { run, calls } = await patternSite(SCRIPT);
  const result = await run(socratic, { ...CONFIG, maxExchanges: 2, synthesisAtEnd: false });
  expect(result.finalOutput).toBe(
    "Q1: Why twice?\nA1: Two bulges.\n\nQ2: Why not at noon?\nA2: The moon moves.",
  );
  expect(calls()).toBe(4);
});

test.each([
  ["peer", [/ a peer /, /A peer asks you/, /your peer the next/]],
  ["teacher_student", [/You teach/, /You are the student/, /You teach.* the next one/]],
])("in mode %s both are told their part", async (mode, told) => {
  const { run } = await patternSite(SCRIPT);
  const result = await run(socratic, { ...CONFIG, maxExchanges: 2, mode });
  expect(result.metadata.mode).toBe(mode);
  for (const [i, words] of told.entries()) expect(result.agentInteractions[i]?.input).toMatch(words);
});

test("a failing responder fails the run with the error of its call", async () => {
  const { run } = await patternSite({ ...SCRIPT, responder: { error: "400" } });
  await expect(run(socratic, CONFIG)).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  socratic,
  "a killed worker: the dialogue goes on where it was, and pays for nothing twice",
  async () => {
    // Slow enough that the kill falls into the run.
    const responder = ANSWERS.map((reply) => ({ reply, latencyMs: 100 }));
    const { survivesAKill, calls } = await patternSite({ ...SCRIPT, responder });
    const result = await survivesAKill(socratic, { ...CONFIG, maxExchanges: 2 }, 5);
    expect(calls()).toBeLessThanOrEqual(5 + 1);
    expect(result.finalOutput).toBe(ANSWERS[2]);
  },
);

test.each([
  ["no questioner", { questioner: undefined }, /wrong at questioner/],
  ["no responder", { responder: undefined }, /wrong at responder/],
  ["no exchanges", { maxExchanges: 0 }, /wrong at maxExchanges/],
  ["more exchanges than can be meant", { maxExchanges: 101 }, /wrong at maxExchanges/],
  ["an unknown mode", { mode: "teacher" }, /wrong at mode/],
  ["no yes or no for the synthesis", { synthesisAtEnd: "yes" }, /wrong at synthesisAtEnd/],
  ["an unknown option", { maxRounds: 3 }, /maxRounds/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(socratic, { ...CONFIG, ...config })).rejects.toThrow(message);
});
