import { expect, test } from "vitest";
import { defineRetriever, InputError, JobCancelledError, rag } from "../../src/index.ts";
import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";
import { notes } from "../support/notes-retriever.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";
import { slowScript } from "../support/slow-script.ts";
import { waitFor } from "../support/wait-for.ts";

const who = (name: string) => ({ name, model: `simulator:${name}` });
const config = {
  input: "When does the tide turn?",
  retriever: "notes",
  generator: who("writer"),
  verifier: who("verifier"),
};
const UNVERIFIED = { ...config, verifier: undefined, verifyFacts: false };

type Citation = { document: number; quote: string };
const paragraph = (text: string, ...citations: Citation[]) => ({ text, citations });
const answered = (...paragraphs: object[]): ScriptedAnswer => ({ json: { paragraphs } });
const claims = (...supported: boolean[]): ScriptedAnswer => ({
  json: {
    claims: supported.map((isSupported, i) => ({ claim: `claim ${i + 1}`, evidence: "", isSupported })),
  },
});

const TWICE = { document: 1, quote: "turns twice A DAY" };
const MOON = { document: 2, quote: "The Moon pulls" };

/** The answer, its verdict, and where asked for the corrected answer and its verdict. */
function script(
  answer: ScriptedAnswer | string,
  verdict: ScriptedAnswer = claims(true),
  corrected: ScriptedAnswer | string = "corrected",
  second = verdict,
) {
  const prompts: Record<string, string[]> = { writer: [], verifier: [] };
  const models = {
    writer: (call: Call) => {
      prompts.writer?.push(call.lastUserText);
      return call.lastUserText.includes("<earlier-answer>") ? corrected : answer;
    },
    verifier: (call: Call) => {
      prompts.verifier?.push(call.lastUserText);
      return prompts.verifier?.length === 1 ? verdict : second;
    },
  };
  return { prompts, models };
}

test("the answer is made of the documents, names the sources that it quotes, and is checked: two calls", async () => {
  const answer = answered(paragraph("Twice a day.", TWICE, MOON), paragraph("By the Moon.", MOON));
  const { prompts, models } = script(answer);
  const { run, calls } = await patternSite(models, notes);
  const result = await run(rag, config);
  expect(result).toMatchObject({
    finalOutput: "Twice a day. [1] [2]\n\nBy the Moon. [2]\n\nSources:\n[1] tides.md\n[2] moon.md",
    iterations: 1,
    metadata: {
      stopReason: "verified",
      verified: true,
      retrievedSources: ["tides.md", "moon.md"],
      citations: [
        { paragraph: 1, source: "tides.md", quote: TWICE.quote },
        { paragraph: 1, source: "moon.md" },
        { paragraph: 2, source: "moon.md" },
      ],
      rejectedCitations: [],
      unattributedParagraphs: [],
      unsupportedClaims: [],
    },
  });
  expect(prompts.writer?.[0]).toContain(
    "<document-2>\nSource: moon.md\n\nThe Moon pulls the water.\n</document-2>",
  );
  expect(prompts.writer?.[0]).toContain(`<question>\n${config.input}\n</question>`);
  expect(prompts.verifier?.[0]).toContain("<answer>\nTwice a day.\n\nBy the Moon.\n</answer>");
  expect(calls()).toBe(2);
});

test("citations of what is not in the documents are taken out, and told", async () => {
  const wrong = [
    { document: 3, quote: "The Moon pulls" },
    { document: 0, quote: "The Moon pulls" },
    { document: 2, quote: "The Sun pulls" },
    { document: 2, quote: " " },
  ];
  const { run, calls } = await patternSite(
    script(answered(paragraph("By the Sun.", ...wrong), paragraph("And the Moon.", MOON))).models,
    notes,
  );
  const result = await run(rag, UNVERIFIED);
  expect(result).toMatchObject({
    finalOutput: "By the Sun.\n\nAnd the Moon. [1]\n\nSources:\n[1] moon.md",
    metadata: {
      stopReason: "answered",
      verified: null,
      rejectedCitations: wrong,
      unattributedParagraphs: [1],
    },
  });
  expect(calls()).toBe(1);
});

test("without sources the answer is plain text", async () => {
  const { run, calls } = await patternSite(script("Twice a day.").models, notes);
  const result = await run(rag, { ...UNVERIFIED, includeSources: false });
  expect(result.finalOutput).toBe("Twice a day.");
  expect(result.metadata).not.toHaveProperty("citations");
  expect(calls()).toBe(1);
});

test.each([
  ["verified", claims(true, true), true, []],
  ["unsupported_claims", claims(true, false), false, ["claim 2"]],
])(
  "claims without support are corrected once and checked again: %s",
  async (reason, second, ok, unsupported) => {
    const { prompts, models } = script("wrong", claims(true, false), "corrected", second);
    const { run, calls } = await patternSite(models, notes);
    const result = await run(rag, { ...config, includeSources: false });
    expect(result).toMatchObject({
      finalOutput: "corrected",
      iterations: 2,
      metadata: { stopReason: reason, verified: ok, unsupportedClaims: unsupported },
    });
    expect(prompts.writer?.[1]).toContain("<earlier-answer>\nwrong\n</earlier-answer>");
    expect(prompts.writer?.[1]).toContain("<unsupported-claims>\nclaim 2\n</unsupported-claims>");
    expect(prompts.verifier?.[1]).toContain("<answer>\ncorrected\n</answer>");
    expect(calls()).toBe(4);
  },
);

test("without a verifier the generator checks its own answer", async () => {
  const writer = (call: Call) => (call.answerSchema ? claims(true) : "Twice a day.");
  const { run, calls } = await patternSite({ writer }, notes);
  const result = await run(rag, { ...config, verifier: undefined, includeSources: false });
  expect(result.metadata.verified).toBe(true);
  expect(calls("writer")).toBe(2);
});

test("the retriever is asked for so many documents, and no more are used; empty ones neither", async () => {
  const asked: unknown[] = [];
  const many = defineRetriever("many", (question) => {
    asked.push(question);
    return ["  ", "one", "two", "three"].map((content) => ({ content, source: `${content}.md` }));
  });
  const { run } = await patternSite(script("Twice.").models, many);
  const options = { ...UNVERIFIED, retriever: "many", includeSources: false, maxRetrievedChunks: 2 };
  const result = await run(rag, options);
  expect(asked).toEqual([{ query: config.input, maxChunks: 2 }]);
  expect(result.metadata.retrievedSources).toEqual(["one.md", "two.md"]);
});

const nothing = defineRetriever("nothing", () => []);

test.each([
  ["answer", "from memory", 1],
  ["decline", "No documents were found for this question.", 0],
])("nothing found, onNoContext %s", async (onNoContext, finalOutput, expected) => {
  const { prompts, models } = script("from memory");
  const { run, calls } = await patternSite(models, nothing);
  const result = await run(rag, { ...config, retriever: "nothing", onNoContext });
  expect(result).toMatchObject({
    finalOutput,
    iterations: expected,
    metadata: { stopReason: "no_context", verified: null },
  });
  if (expected) expect(prompts.writer?.[0]).toContain("no document supports the answer");
  expect(calls()).toBe(expected);
});

test("nothing found, onNoContext fail: the run says which retriever it was", async () => {
  const { run, calls } = await patternSite({}, nothing);
  await expect(run(rag, { ...config, retriever: "nothing", onNoContext: "fail" })).rejects.toMatchObject({
    code: "no_context",
    message: 'the retriever "nothing" found nothing',
  });
  expect(calls()).toBe(0);
});

test("a retriever that throws is tried three times; then the run fails, or goes on without documents", async () => {
  let tries = 0;
  const broken = defineRetriever("broken", () => {
    tries++;
    throw new Error("the index is closed");
  });
  const { run, start } = await patternSite(script("from memory").models, broken);
  await expect(run(rag, { ...config, retriever: "broken" })).rejects.toMatchObject({
    code: "retriever_failed",
    message: expect.stringMatching(/^the retriever "broken" failed: .*the index is closed/),
  });
  expect(tries).toBe(3);
  const going = await start(rag, { ...config, retriever: "broken", onRetrieverError: "no_context" });
  expect(await going.result()).toMatchObject({
    finalOutput: "from memory",
    metadata: { stopReason: "no_context", retrieverError: expect.stringContaining("the index is closed") },
  });
});

test("a retriever's own error of this package counts as its failure too, but for a cancellation", async () => {
  const refusing = defineRetriever("refusing", () => {
    throw new InputError("the index knows no such language");
  });
  const { run } = await patternSite(script("from memory").models, refusing);
  const options = { ...config, retriever: "refusing", onRetrieverError: "no_context" };
  expect(await run(rag, options)).toMatchObject({
    finalOutput: "from memory",
    metadata: { stopReason: "no_context", retrieverError: "the index knows no such language" },
  });
  const cancelling = defineRetriever("cancelling", () => {
    throw new JobCancelledError();
  });
  const cancelled = await patternSite({}, cancelling);
  await expect(cancelled.run(rag, { ...options, retriever: "cancelling" })).rejects.toMatchObject({
    category: "cancelled",
  });
});

test("a quote is found in its document also when the prompt's &lt; stands in it", async () => {
  const page = defineRetriever("page", () => [{ content: "Use <text> for a break.", source: "html.md" }]);
  const quotes = ["Use <text>", "Use &lt;text>"].map((quote) => ({ document: 1, quote }));
  const { prompts, models } = script(answered(paragraph("By br.", ...quotes)));
  const { run } = await patternSite(models, page);
  const result = await run(rag, { ...UNVERIFIED, retriever: "page" });
  expect(prompts.writer?.[0]).toContain("Use &lt;text> for a break.");
  expect(result.metadata).toMatchObject({ rejectedCitations: [] });
});

test("a retriever that brings something else fails the run", async () => {
  const odd = defineRetriever("odd", (() => [{ text: "no content" }]) as never);
  const { run } = await patternSite({}, odd);
  await expect(run(rag, { ...config, retriever: "odd" })).rejects.toMatchObject({
    code: "retriever_failed",
    message: 'the retriever "odd" failed: it brought something else than [{content, source}]',
  });
});

test("a run whose retriever no worker has waits, and says for what", async () => {
  const { start, work } = await patternSite(script("Twice.").models);
  await work();
  const run = await start(rag, { ...UNVERIFIED, includeSources: false });
  await waitFor("the reason", async () => (await run.status()).waitsFor.join().includes("retriever notes"));
  await work(notes);
  expect(await run.result()).toMatchObject({ finalOutput: "Twice." });
});

killTest(rag, "a killed worker: the run goes on after what it had found and asked", async () => {
  const { models } = script("wrong", claims(false), "corrected", claims(true));
  // By what is asked: another process repeats what was under way at the kill.
  const verifier = (call: Call) => claims(call.lastUserText.includes("<answer>\ncorrected"));
  const { survivesAKill, calls } = await patternSite(slowScript({ ...models, verifier }));
  const result = await survivesAKill(rag, { ...config, includeSources: false }, 4, "notes-retriever.ts");
  expect(result).toMatchObject({ finalOutput: "corrected", metadata: { stopReason: "verified" } });
  expect(calls()).toBeLessThanOrEqual(4 + 1);
});

test.each([
  ["no retriever", { retriever: undefined }, /wrong at retriever/],
  ["a name that none can have", { retriever: "my notes" }, /wrong at retriever: must be the name of a/],
  ["no documents", { maxRetrievedChunks: 0 }, /wrong at maxRetrievedChunks/],
  ["a verifier with nothing to do", { verifyFacts: false }, /wrong at verifier: is asked only with/],
  ["an unknown fallback", { onNoContext: "guess" }, /wrong at onNoContext/],
])("%s: refused at start with the field's name", async (_what, options, message) => {
  await expect(startWithoutRedis(rag, { ...config, ...options })).rejects.toThrow(message);
});
