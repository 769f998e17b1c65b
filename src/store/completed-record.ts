import { z } from "zod";
import type { BlobRef } from "../shared/catalog.ts";
import { type ChatCompletion, chatCompletionSchema } from "../shared/chat.ts";
import { type ResultRecord, type ToolExecution, toolExecutionSchema } from "../shared/records.ts";
import { isBlobRef, readBlob } from "./blobs.ts";
import type { Store } from "./store.ts";

const outputSchema = z.object({ value: z.unknown() });

/** A finished job's record with all that lies in blobs. */
export type CompletedRecord = Omit<ResultRecord, "toolExecutions" | "output"> & {
  response: NonNullable<ResultRecord["response"]>;
  body: ChatCompletion;
  toolExecutions: ToolExecution[];
  /** Undefined when no structured answer was asked for. */
  output: unknown;
};

/** Returns a record that has a response with all that it refers to. @throws GlueError `blob_lost` */
export async function readCompleted(
  store: Store,
  record: ResultRecord,
  response: NonNullable<ResultRecord["response"]>,
): Promise<CompletedRecord> {
  const [body, toolExecutions, output] = await Promise.all([
    readAnswerBody(store, response.body),
    readToolExecutions(store, record),
    readOutputValue(store, record),
  ]);
  return { ...record, response, body, toolExecutions, output };
}

/** A recorded answer's body, fetched from its blob when it was too large to lie in the record. */
async function readAnswerBody(store: Store, body: ChatCompletion | BlobRef): Promise<ChatCompletion> {
  return isBlobRef(body) ? chatCompletionSchema.parse(await readBlob(store, body)) : body;
}

/** A record's tool calls; none when its job had no tools. */
async function readToolExecutions(
  store: Store,
  { toolExecutions = [] }: Pick<ResultRecord, "toolExecutions">,
): Promise<ToolExecution[]> {
  return isBlobRef(toolExecutions)
    ? z.array(toolExecutionSchema).parse(await readBlob(store, toolExecutions))
    : toolExecutions;
}

/** A record's structured answer; undefined when none was asked for. */
async function readOutputValue(store: Store, { output }: Pick<ResultRecord, "output">): Promise<unknown> {
  return isBlobRef(output) ? outputSchema.parse(await readBlob(store, output)).value : output?.value;
}

/** A result record whose answer's body was fetched from its blob. */
export type InlineResult = Omit<ResultRecord, "response"> & {
  response?: { statusCode: number; requestId: string; body: ChatCompletion };
};

/** Returns the record with its answer's body, wherever that lies. */
export async function inlineResult(store: Store, record: ResultRecord): Promise<InlineResult> {
  const { response, ...rest } = record;
  if (!response) return rest;
  const body = await readAnswerBody(store, response.body);
  return { ...rest, response: { ...response, body } };
}
