import { addPiece, type StreamPiece } from "../shared/stream-events.ts";
import type { OnDelta } from "./provider.ts";
import { ThinkTags } from "./think-tags.ts";

/** Tells the pieces of a streamed answer in its normal form: what the model thought apart from its text. */
export class StreamTeller {
  readonly #onDelta: OnDelta;
  readonly #tags: ThinkTags;
  /** All that was told but the text. */
  readonly #besides: StreamPiece[] = [];
  #source: unknown;

  constructor(onDelta: OnDelta) {
    this.#onDelta = onDelta;
    this.#tags = new ThinkTags((piece) => {
      if (piece.type === "reasoning") this.reasoning(piece.text, this.#tags);
      else onDelta(piece);
      if (piece.type === "restart") for (const told of this.#besides) onDelta(told);
    });
  }

  text(text: string): void {
    this.#tags.push(text);
  }

  /** @param source where it stands; what comes from another one is a paragraph of its own */
  reasoning(text: string, source: unknown): void {
    if (text === "") return;
    const isFurther = this.#source !== undefined && this.#source !== source;
    this.#source = source;
    this.#tell({ type: "reasoning", text: isFurther ? `\n\n${text}` : text });
  }

  toolCall(index: number, piece: { id?: string; name?: string; arguments: string }): void {
    this.#tell({ type: "toolCall", index, ...piece });
  }

  /** An event of the provider's own, beside the pieces. */
  vendor(event: Record<string, unknown>): void {
    this.#tell({ type: "vendor", event });
  }

  /** The answer has ended: what may have been the beginning of a tag is told. */
  end(): void {
    this.#tags.end();
  }

  #tell(piece: StreamPiece): void {
    addPiece(this.#besides, piece);
    this.#onDelta(piece);
  }
}
