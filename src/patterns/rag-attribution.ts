import { z } from "zod";
import type { RetrievedChunk } from "../shared/step-function.ts";

const citationSchema = z.object({
  document: z.int().describe("its number"),
  quote: z.string().describe("the words of the document, as they stand there, that say so"),
});

/** The schema of an answer that says of each paragraph where it has it from. */
export const attributedSchema = z.object({
  paragraphs: z
    .array(
      z.object({
        text: z.string().min(1).describe("without numbers of documents"),
        citations: z.array(citationSchema).describe("empty when no document says so"),
      }),
    )
    .min(1),
});
type Paragraph = z.output<typeof attributedSchema>["paragraphs"][number];
type Citation = z.output<typeof citationSchema>;

/** An answer with its sources. */
export interface Attribution {
  /** The answer with `[1]` after each paragraph that a source supports, and the list of these sources. */
  text: string;
  /** The citations that hold, paragraphs counted from 1. */
  citations: { paragraph: number; source: string; quote: string }[];
  /** The citations of a document that was not retrieved, or of words that are not in it. */
  rejectedCitations: Citation[];
  /** The paragraphs without a citation that holds, counted from 1. */
  unattributedParagraphs: number[];
}

/**
 * Returns the answer with the citations whose quote stands in the retrieved document; spaces, case, forms of letters
 * and `&lt;` for `<` do not count.
 */
export function attribute(
  paragraphs: readonly Paragraph[],
  documents: readonly RetrievedChunk[],
): Attribution {
  const contents = documents.map(({ content }) => plain(content));
  const holds = ({ document, quote }: Citation) =>
    plain(quote) !== "" && contents[document - 1]?.includes(plain(quote)) === true;
  const citations = paragraphs.flatMap((paragraph, i) =>
    paragraph.citations.filter(holds).map(({ document, quote }) => {
      return { paragraph: i + 1, source: documents[document - 1]?.source ?? "", quote };
    }),
  );
  const sources = [...new Set(citations.map(({ source }) => source))];
  const marked = paragraphs.map(({ text }, i) => {
    const own = sources.flatMap((source, at) => {
      return citations.some((one) => one.paragraph === i + 1 && one.source === source) ? `[${at + 1}]` : [];
    });
    return [text, ...own].join(" ");
  });
  const list = sources.map((source, at) => `[${at + 1}] ${source}`);
  return {
    text: [...marked, ...(list.length > 0 ? [["Sources:", ...list].join("\n")] : [])].join("\n\n"),
    citations,
    rejectedCitations: paragraphs.flatMap((paragraph) => paragraph.citations.filter((one) => !holds(one))),
    unattributedParagraphs: paragraphs.flatMap(({ citations }, i) => (citations.some(holds) ? [] : i + 1)),
  };
}

/** Returns a text for comparison. A prompt's `block` shows `<` as `&lt;`, and a model may quote it so. */
function plain(text: string): string {
  return text.normalize("NFKC").toLowerCase().replaceAll("&lt;", "<").replaceAll(/\s+/g, " ").trim();
}
