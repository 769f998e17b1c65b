import { z } from "zod";
import { fieldsOf, isObject } from "./json.ts";

const turn = z.int().positive();

/** A piece of the answer; the pieces of a turn, joined in their order, are the whole. */
const streamPieceSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({
    /** What the model thinks before it answers: no part of the answer's text. */
    type: z.literal("reasoning"),
    text: z.string(),
  }),
  z.object({
    type: z.literal("toolCall"),
    /** The call's place among those of its turn, from 0. */
    index: z.int().min(0),
    /** The call's id, with its first piece. */
    id: z.string().optional(),
    name: z.string().optional(),
    /** A piece of JSON text. */
    arguments: z.string(),
  }),
  z.object({
    /** An event of the provider's own stream, beside the other pieces; of a request in the provider's own words alone. */
    type: z.literal("vendor"),
    event: z.record(z.string(), z.unknown()),
  }),
]);
export type StreamPiece = z.infer<typeof streamPieceSchema>;

/**
 * Returns a piece as an entry holds it. What a model thinks, and a vendor's event, is an empty text there, with a field beside it:
 * processes of versions before know no pieces of other types, and would take the stream for broken.
 */
export function toStoredPiece(piece: StreamPiece): object {
  if (piece.type === "reasoning") return { type: "text", text: "", reasoning: piece.text };
  return piece.type === "vendor" ? { type: "text", text: "", vendor: piece.event } : piece;
}

function fromStoredPiece(stored: unknown): unknown {
  const { type, reasoning, vendor } = fieldsOf(stored);
  if (type === "text" && typeof reasoning === "string") return { type: "reasoning", text: reasoning };
  return type === "text" && isObject(vendor) ? { type: "vendor", event: vendor } : stored;
}

/** What a reader of a job's answer is told while a worker produces it. */
export type StreamEvent =
  | StreamPiece
  /**
   * A further turn of the conversation with the model begins: tool results, or a repair, came in between. Turn 1 is not
   * announced.
   */
  | { type: "turn"; turn: number }
  /** The turn is produced once more: all that was told of it, and of later ones, is void. */
  | { type: "restart"; turn: number };

/**
 * One entry of a job's stream. An entry of number 0 starts a turn; the others belong to the start of the same token.
 * Each provider call has a token of its own.
 */
export const streamEntrySchema = z.object({
  token: z.string(),
  turn: z.coerce.number().pipe(turn),
  /** The number among the token's entries, from 0. */
  number: z.coerce.number().pipe(z.int().min(0)),
  pieces: z.preprocess(
    (json) => JSON.parse(String(json)),
    z.array(z.preprocess(fromStoredPiece, streamPieceSchema)),
  ),
});
export type StreamEntry = z.infer<typeof streamEntrySchema>;

/** Adds a piece to others, joined with the last where it goes on with it. */
export function addPiece(pieces: StreamPiece[], piece: StreamPiece): void {
  const last = pieces.at(-1);
  if (last?.type === "text" && piece.type === "text") last.text += piece.text;
  else if (last?.type === "reasoning" && piece.type === "reasoning") last.text += piece.text;
  else if (last?.type === "toolCall" && piece.type === "toolCall" && last.index === piece.index)
    last.arguments += piece.arguments;
  else pieces.push({ ...piece });
}
