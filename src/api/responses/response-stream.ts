import type { CompletionEvent, CompletionResult } from "../../calls/completion-result.ts";
import { toErrorAnswer } from "../api-error.ts";
import { ToldAnswer } from "../told-answer.ts";
import { answered, type Fields, itemId, type ResponseHead, unanswered } from "./response-body.ts";

interface OpenItem {
  type: "message" | "reasoning" | "function_call";
  id: string;
  index: number;
  text: string;
  call?: { callId: string; name: string };
}

type ToldEvent = Fields & { type: string };

/** The events of one response, in the order that clients expect, each with its number. */
export class ResponseEvents {
  readonly #head: ResponseHead;
  readonly #told = new ToldAnswer();
  readonly #counts: Record<string, number> = {};
  #sequence = 0;
  #items = 0;
  #open: (OpenItem & { callIndex?: number }) | undefined;

  constructor(head: ResponseHead) {
    this.#head = head;
  }

  /** Returns what comes before all else. */
  begin(): ToldEvent[] {
    const response = unanswered(this.#head, "in_progress");
    return [this.#event("response.created", { response }), this.#event("response.in_progress", { response })];
  }

  /** Returns what an event of the job says. @throws ApiError when the answer began anew and is another one */
  take(event: CompletionEvent): ToldEvent[] {
    const pieces = this.#told.take(event).flatMap((piece) => {
      if (piece.type === "toolCall") {
        const call = { callId: piece.id ?? "", name: piece.name ?? "" };
        return [...this.#become("function_call", piece.index, call), this.#delta(piece.arguments)];
      }
      return [...this.#become(piece.type === "text" ? "message" : "reasoning"), this.#delta(piece.text)];
    });
    return event.type === "result" ? [...pieces, ...this.#end(event.result)] : pieces;
  }

  /** Returns how a response ends that has failed. */
  fail(error: unknown): ToldEvent[] {
    const { code, message, param } = toErrorAnswer(error);
    const response = unanswered(this.#head, "failed", { code, message });
    return [this.#event("error", { code, message, param }), this.#event("response.failed", { response })];
  }

  #end(result: CompletionResult): ToldEvent[] {
    const closed = this.#close();
    const response = answered(this.#head, result);
    const { output, status } = response as { output: Fields[]; status: string };
    // What came in no piece: calls of the provider's own tools, reasoning that is sealed.
    const untold = output.filter(({ type }) => !this.#wasTold(String(type)));
    const items = untold.flatMap((item) => {
      const output_index = this.#items++;
      return [
        this.#event("response.output_item.added", { output_index, item }),
        this.#event("response.output_item.done", { output_index, item }),
      ];
    });
    const type = status === "incomplete" ? "response.incomplete" : "response.completed";
    return [...closed, ...items, this.#event(type, { response })];
  }

  #wasTold(type: string): boolean {
    return this.#counts[type] !== undefined;
  }

  /** Opens an item of this kind, unless it is open. */
  #become(type: OpenItem["type"], callIndex?: number, call?: OpenItem["call"]): ToldEvent[] {
    if (this.#open?.type === type && this.#open.callIndex === callIndex) return [];
    const closed = this.#close();
    const n = this.#counts[type] ?? 0;
    this.#counts[type] = n + 1;
    const id = itemId(this.#head.id, type, n);
    this.#open = { type, id, index: this.#items++, text: "", call, callIndex };
    const item = itemOf(this.#open, "in_progress");
    const added = this.#event("response.output_item.added", { output_index: this.#open.index, item });
    if (type === "function_call") return [...closed, added];
    const part = { type: "output_text", text: "", annotations: [], logprobs: [] };
    const opened =
      type === "message"
        ? this.#ofItem("response.content_part.added", { content_index: 0, part })
        : this.#ofItem("response.reasoning_summary_part.added", {
            summary_index: 0,
            part: { type: "summary_text", text: "" },
          });
    return [...closed, added, opened];
  }

  #delta(delta: string): ToldEvent {
    const open = this.#open as OpenItem;
    open.text += delta;
    if (open.type === "function_call")
      return this.#ofItem("response.function_call_arguments.delta", { delta });
    return open.type === "message"
      ? this.#ofItem("response.output_text.delta", { content_index: 0, delta, logprobs: [] })
      : this.#ofItem("response.reasoning_summary_text.delta", { summary_index: 0, delta });
  }

  #close(): ToldEvent[] {
    const open = this.#open;
    if (!open) return [];
    const { text } = open;
    const item = itemOf(open, "completed");
    const ended: Record<OpenItem["type"], () => ToldEvent[]> = {
      function_call: () => [
        this.#ofItem("response.function_call_arguments.done", { arguments: text, name: open.call?.name }),
      ],
      message: () => [
        this.#ofItem("response.output_text.done", { content_index: 0, text, logprobs: [] }),
        this.#ofItem("response.content_part.done", {
          content_index: 0,
          part: { type: "output_text", text, annotations: [], logprobs: [] },
        }),
      ],
      reasoning: () => [
        this.#ofItem("response.reasoning_summary_text.done", { summary_index: 0, text }),
        this.#ofItem("response.reasoning_summary_part.done", {
          summary_index: 0,
          part: { type: "summary_text", text },
        }),
      ],
    };
    const events = ended[open.type]();
    const done = this.#event("response.output_item.done", { output_index: open.index, item });
    this.#open = undefined;
    return [...events, done];
  }

  #ofItem(type: string, fields: Fields): ToldEvent {
    const { id, index } = this.#open as OpenItem;
    return this.#event(type, { item_id: id, output_index: index, ...fields });
  }

  #event(type: string, fields: Fields): ToldEvent {
    return { type, sequence_number: this.#sequence++, ...fields };
  }
}

function itemOf({ type, id, text, call }: OpenItem, status: "in_progress" | "completed"): Fields {
  const isDone = status === "completed";
  if (type === "function_call")
    return { id, type, status, call_id: call?.callId, name: call?.name, arguments: text };
  if (type === "reasoning") return { id, type, summary: isDone ? [{ type: "summary_text", text }] : [] };
  const part = { type: "output_text", text, annotations: [], logprobs: [] };
  return { id, type, status, role: "assistant", content: isDone ? [part] : [] };
}
