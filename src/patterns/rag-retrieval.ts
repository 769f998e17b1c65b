import { z } from "zod";
import { GlueError } from "../shared/errors.ts";
import { type RetrievedChunk, referenceTo } from "../shared/step-function.ts";
import type { WorkflowContext } from "../workflows/context.ts";

const documentsSchema = z.array(z.object({ content: z.string(), source: z.string() }));
const RETRY = { maxAttempts: 3, minWaitMs: 500 };

/** What a retriever brought. */
export interface Retrieval {
  /** The best documents as the retriever ranks them, none of them empty. */
  documents: RetrievedChunk[];
  /** The reason why there are none, when the retriever failed. */
  retrieverError?: string;
}

export function retrieverReference(name: string): string {
  return referenceTo({ kind: "retriever", name });
}

/**
 * Returns what a retriever finds, asked as a step; a failure is part of the result.
 * @throws the error of a run that was cancelled or is past its deadline
 */
export async function retrieve(
  ctx: WorkflowContext,
  retriever: string,
  question: { query: string; maxChunks: number },
): Promise<Retrieval> {
  try {
    const found = await ctx.call("retrieve", retrieverReference(retriever), question, { retry: RETRY });
    const { success, data = [] } = documentsSchema.safeParse(found);
    if (!success)
      return { documents: [], retrieverError: "it brought something else than [{content, source}]" };
    return { documents: data.filter(({ content }) => content.trim()).slice(0, question.maxChunks) };
  } catch (error) {
    if (!(error instanceof GlueError) || error.category === "cancelled") throw error;
    return { documents: [], retrieverError: error.message };
  }
}
