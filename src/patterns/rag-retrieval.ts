import { z } from "zod";
import { GlueError } from "../shared/errors.ts";
import { type RetrievedChunk, referenceTo } from "../shared/step-function.ts";
import type { WorkflowContext } from "../workflows/context.ts";

const documentsSchema = z.array(z.object({ content: z.string(), source: z.string() }));
const RETRY = { maxAttempts: 3, minWaitMs: 500 };

export interface Retrieval {
  /** The best ones as the retriever ranks them, none of them empty. */
  documents: RetrievedChunk[];
  /** Why there are none, when the retriever failed. */
  retrieverError?: string;
}

export function retrieverReference(name: string): string {
  return referenceTo({ kind: "retriever", name });
}

/**
 * Asks a retriever, as a step.
 * @throws what says that the run has been cancelled or is over its deadline
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
