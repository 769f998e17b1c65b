import { z } from "zod";
import { WorkflowError } from "../shared/errors.ts";
import { type Ask, agent, definePattern, type PatternInput } from "./pattern.ts";
import { type Attribution, attribute, attributedSchema } from "./rag-attribution.ts";
import { answerPrompt, correctPrompt, fallbackPrompt, verifyPrompt } from "./rag-prompts.ts";
import { retrieve, retrieverReference } from "./rag-retrieval.ts";

const config = z.object({
  retriever: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/, "must be the name of a retriever")
    .describe("name of a retriever that a worker has loaded; asked with the input, tried up to 3 times"),
  generator: agent.describe("writes the answer"),
  verifier: agent.optional().describe("checks the answer against the documents; default the generator"),
  maxRetrievedChunks: z.int().min(1).max(100).default(5).describe("most documents of a question, 1 to 100"),
  includeSources: z
    .boolean()
    .default(true)
    .describe(
      "the answer names its sources; each has to be quoted, and the quote is looked for in the document",
    ),
  verifyFacts: z
    .boolean()
    .default(true)
    .describe("the answer's facts are checked; those without support are corrected once, and checked again"),
  onNoContext: z
    .enum(["answer", "decline", "fail"])
    .default("answer")
    .describe(
      "when nothing is found: answer: from the model's own knowledge, and said so; decline: a fixed sentence, without a call; fail: the run fails",
    ),
  onRetrieverError: z
    .enum(["fail", "no_context"])
    .default("fail")
    .describe("when the retriever fails: fail: so does the run; no_context: as if nothing had been found"),
});
type RagInput = PatternInput<typeof config>;

interface WrittenAnswer {
  /** The text without sources. */
  plain: string;
  attribution?: Attribution;
}

const NOTHING_FOUND = "No documents were found for this question.";

const claimsSchema = z.object({
  claims: z
    .array(
      z.object({
        claim: z.string().describe("one fact that the answer states"),
        evidence: z.string().describe("what the documents say of it; empty when they say nothing"),
        isSupported: z.boolean().describe("true only when the documents say so"),
      }),
    )
    .describe("all facts of the answer; empty when it states none"),
});

/**
 * The pattern that answers from documents that a retriever finds, names its sources, and has its facts checked against
 * the documents; facts without support are corrected once. The run fails with WorkflowError `retriever_failed` or
 * `no_context` where the options say so.
 */
export const rag = definePattern({
  name: "rag",
  when: "The answer is in texts that the model does not know.",
  calls:
    "1; with verifyFacts 2, or 4 when a fact has no support; without context 1, or 0 with onNoContext decline",
  source: 'Lewis et al. 2020, "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks"',
  config,
  requires: ({ retriever }) => [retrieverReference(retriever)],
  check({ verifier, verifyFacts }, refuse) {
    if (verifier && !verifyFacts) refuse("verifier", "is asked only with verifyFacts");
  },
  async run(ctx, given, ask) {
    const { input, retriever, generator, verifier = generator, maxRetrievedChunks, verifyFacts } = given;
    const question = { query: input, maxChunks: maxRetrievedChunks };
    const { documents, retrieverError } = await retrieve(ctx, retriever, question);
    if (documents.length === 0) return withoutContext(given, ask, retrieverError);

    const write = async (stage: string, prompt: string): Promise<WrittenAnswer> => {
      if (!given.includeSources) return { plain: await ask(stage, generator, prompt) };
      const { paragraphs } = await ask.structured(stage, generator, prompt, { schema: attributedSchema });
      const plain = paragraphs.map(({ text }) => text).join("\n\n");
      return { plain, attribution: attribute(paragraphs, documents) };
    };
    const findUnsupported = async ({ plain }: WrittenAnswer): Promise<string[]> => {
      const prompt = verifyPrompt(plain, documents);
      const { claims } = await ask.structured("verify", verifier, prompt, { schema: claimsSchema });
      return claims.flatMap(({ claim, isSupported }) => (isSupported ? [] : claim));
    };

    let answer = await write("answer", answerPrompt(input, documents));
    let unsupported = verifyFacts ? await findUnsupported(answer) : [];
    const isCorrected = unsupported.length > 0;
    if (isCorrected) {
      answer = await write("correct", correctPrompt(input, documents, answer.plain, unsupported));
      unsupported = await findUnsupported(answer);
    }
    const { text = answer.plain, ...attribution } = answer.attribution ?? {};
    const verified = verifyFacts ? unsupported.length === 0 : null;
    return {
      finalOutput: text,
      iterations: isCorrected ? 2 : 1,
      metadata: {
        stopReason: verified === null ? "answered" : verified ? "verified" : "unsupported_claims",
        retrievedSources: documents.map(({ source }) => source),
        ...attribution,
        verified,
        unsupportedClaims: unsupported,
      },
    };
  },
});

/**
 * Returns the result without documents.
 * @throws WorkflowError `retriever_failed`, `no_context`, where the options say so
 */
async function withoutContext(given: RagInput, ask: Ask, retrieverError?: string) {
  const { input, generator, retriever, onNoContext, onRetrieverError } = given;
  if (retrieverError !== undefined && onRetrieverError === "fail") {
    const message = `the retriever "${retriever}" failed: ${retrieverError}`;
    throw new WorkflowError({ code: "retriever_failed", message });
  }
  if (onNoContext === "fail") {
    throw new WorkflowError({ code: "no_context", message: `the retriever "${retriever}" found nothing` });
  }
  const isAsked = onNoContext === "answer";
  return {
    finalOutput: isAsked ? await ask("answer", generator, fallbackPrompt(input)) : NOTHING_FOUND,
    iterations: isAsked ? 1 : 0,
    metadata: { stopReason: "no_context", retrieverError, retrievedSources: [], verified: null },
  };
}
