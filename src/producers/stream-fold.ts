import type { ChatCompletion } from "../shared/chat.ts";
import type { StreamEntry, StreamEvent, StreamPiece } from "../shared/stream-events.ts";

/**
 * What one reader has been told. Entries become events; whatever their order and whatever is missing of them, the text
 * since a turn's last beginning is never doubled, and at the end it is the answer's.
 */
export class StreamFold {
  #token: string | undefined;
  #nextNumber = 0;
  #turn = 1;
  #hasTold = false;
  #hasTurnBegun = false;
  #text = "";
  #reasoning = "";
  /** By index: the arguments told so far. */
  #toolCalls: string[] = [];

  take({ token, turn, number, pieces }: StreamEntry): StreamEvent[] {
    if (number === 0) {
      this.#token = token;
      this.#nextNumber = 1;
      return [...this.#begin(turn), ...this.#tell(pieces)];
    }
    // An entry is missing before this one: what is told stays a beginning, and the result brings the rest.
    if (token !== this.#token || number !== this.#nextNumber) {
      this.#token = undefined;
      return [];
    }
    this.#nextNumber += 1;
    return this.#tell(pieces);
  }

  /**
   * What the answer has beyond the pieces; all of it when they are of another one.
   * @param turn the one that brought the answer, from 1
   */
  rest(body: ChatCompletion, turn: number): StreamEvent[] {
    const message = body.choices[0]?.message;
    const text = message?.content || (message?.refusal ?? "");
    const reasoning = message?.reasoning ?? "";
    const calls = message?.tool_calls ?? [];
    const isBeginning =
      text.startsWith(this.#text) &&
      reasoning.startsWith(this.#reasoning) &&
      this.#toolCalls.length <= calls.length &&
      this.#toolCalls.every((told, index) => calls[index]?.function.arguments.startsWith(told));
    const isOther = turn !== this.#turn || !isBeginning;
    const start = isOther ? this.#begin(turn) : [];
    const pieces: StreamPiece[] = [];
    if (reasoning.length > this.#reasoning.length)
      pieces.push({ type: "reasoning", text: reasoning.slice(this.#reasoning.length) });
    if (text.length > this.#text.length) pieces.push({ type: "text", text: text.slice(this.#text.length) });
    for (const [index, { id, function: called }] of calls.entries()) {
      const told = this.#toolCalls[index];
      const left = called.arguments.slice(told?.length ?? 0);
      if (told === undefined)
        pieces.push({ type: "toolCall", index, id, name: called.name, arguments: left });
      else if (left) pieces.push({ type: "toolCall", index, arguments: left });
    }
    return [...start, ...this.#tell(pieces)];
  }

  /** A turn begins, or begins anew. Nothing need be said where nothing was told. */
  #begin(turn: number): StreamEvent[] {
    const isVoid = turn < this.#turn || this.#hasTurnBegun;
    const isFurther = turn > this.#turn;
    this.#turn = turn;
    this.#text = "";
    this.#reasoning = "";
    this.#toolCalls = [];
    this.#hasTurnBegun = false;
    if (!this.#hasTold || !(isFurther || isVoid)) return [];
    return [{ type: isFurther ? "turn" : "restart", turn }];
  }

  #tell(pieces: readonly StreamPiece[]): StreamPiece[] {
    this.#hasTold ||= pieces.length > 0;
    this.#hasTurnBegun ||= pieces.length > 0;
    for (const piece of pieces) {
      if (piece.type === "text") this.#text += piece.text;
      else if (piece.type === "reasoning") this.#reasoning += piece.text;
      else if (piece.type === "toolCall")
        this.#toolCalls[piece.index] = (this.#toolCalls[piece.index] ?? "") + piece.arguments;
    }
    return [...pieces];
  }
}
