/** What a splitter tells of a text: pieces, or that what it told as text was none. */
export type SplitPiece = { type: "text" | "reasoning"; text: string } | { type: "restart" };

const CLOSING_OF: Readonly<Record<string, string>> = {
  "<think>": "</think>",
  "<thinking>": "</thinking>",
  "<thought>": "</thought>",
  "<seed:think>": "</seed:think>",
  "[THINK]": "[/THINK]",
  "◁think▷": "◁/think▷",
};
/** A text that speaks of so many is about them: each look goes through all that came before. */
const MAX_SPOKEN_TAGS = 20;
const OPENINGS = Object.keys(CLOSING_OF);
const CLOSINGS = Object.values(CLOSING_OF);
const PATTERNS = new Map(
  [...OPENINGS, ...CLOSINGS].map((tag) => [
    tag,
    new RegExp(tag.replace(/[[\]/]/g, "\\$&"), tag.startsWith("<") ? "i" : ""),
  ]),
);

const ANY_TAG = new RegExp([...PATTERNS.values()].map(({ source }) => source).join("|"), "i");

/**
 * Takes what a model thought out of its text, as the text comes: a block in `<think>` tags at its beginning, closed or not,
 * and all before a closing tag whose opening was part of the prompt. A text that speaks of the tags stays as it is.
 */
export class ThinkTags {
  readonly #tell: (piece: SplitPiece) => void;
  #state: "start" | "reasoning" | "text" = "start";
  #closing = "";
  /** What has come and is not told. */
  #pending = "";
  #told = "";
  #hasBlock = false;
  /** Closing tags that were part of what is said. */
  #spokenTags = 0;
  #isBlockEmpty = true;

  constructor(tell: (piece: SplitPiece) => void) {
    this.#tell = tell;
  }

  push(piece: string): void {
    if (piece === "") return;
    this.#pending += piece;
    while (this.#advance()) {}
  }

  /** The text has ended. */
  end(): void {
    while (this.#advance(true)) {}
    const rest = this.#pending;
    this.#pending = "";
    if (this.#state === "reasoning") this.#tellReasoning(rest.trimEnd());
    else this.#tellText(this.#hasBlock && this.#state === "start" ? rest.trimStart() : rest);
  }

  /** Goes on to the next tag; false when more of the text is needed. */
  #advance(isEnd = false): boolean {
    if (this.#state === "start") return this.#open();
    if (this.#state === "reasoning") return this.#close();
    return this.#findOrphan(isEnd);
  }

  #open(): boolean {
    const text = this.#pending.trimStart();
    const opening = OPENINGS.find((tag) => isTag(text.slice(0, tag.length), tag));
    if (opening) {
      this.#pending = text.slice(opening.length);
      this.#closing = CLOSING_OF[opening] ?? "";
      this.#state = "reasoning";
      this.#isBlockEmpty = true;
      return true;
    }
    if (OPENINGS.some((tag) => isTag(text, tag.slice(0, text.length)))) return false;
    if (this.#hasBlock) this.#pending = text;
    this.#state = "text";
    return true;
  }

  #close(): boolean {
    const at = placeOf(this.#closing, this.#pending);
    const end = at < 0 ? this.#pending.length - begunTag(this.#pending, [this.#closing]) : at;
    // Space before the closing tag is not told, and is known to stand there only later.
    const thought = this.#pending.slice(0, end).trimEnd();
    this.#tellReasoning(thought);
    if (at < 0) {
      this.#pending = this.#isBlockEmpty ? this.#pending.trimStart() : this.#pending.slice(thought.length);
      return false;
    }
    this.#endBlock(this.#pending.slice(at + this.#closing.length));
    return true;
  }

  #findOrphan(isEnd: boolean): boolean {
    const isSettled = this.#hasBlock || this.#spokenTags >= MAX_SPOKEN_TAGS;
    const text = isSettled ? "" : this.#pending;
    const found = CLOSINGS.map((tag) => ({ tag, at: placeOf(tag, text) })).filter(({ at }) => at >= 0);
    const first = found.toSorted((a, b) => a.at - b.at)[0];
    if (!first) {
      const end = isSettled ? this.#pending.length : this.#pending.length - begunTag(this.#pending, CLOSINGS);
      this.#tellText(this.#pending.slice(0, end));
      this.#pending = this.#pending.slice(end);
      return false;
    }
    const tagEnd = first.at + first.tag.length;
    if (tagEnd === this.#pending.length && !isEnd) {
      this.#tellText(this.#pending.slice(0, first.at));
      this.#pending = this.#pending.slice(first.at);
      return false;
    }
    const before = this.#told + this.#pending.slice(0, first.at);
    if (isSpokenOf(before, this.#pending.slice(tagEnd))) {
      this.#spokenTags += 1;
      this.#tellText(this.#pending.slice(0, tagEnd));
      this.#pending = this.#pending.slice(tagEnd);
      return true;
    }
    if (this.#told !== "") this.#tell({ type: "restart" });
    this.#told = "";
    this.#tellReasoning(before.trim());
    this.#endBlock(this.#pending.slice(tagEnd));
    return true;
  }

  #endBlock(rest: string): void {
    this.#pending = rest;
    this.#hasBlock = true;
    this.#state = "start";
  }

  #tellText(text: string): void {
    if (text === "") return;
    this.#told += text;
    this.#tell({ type: "text", text });
  }

  #tellReasoning(thought: string): void {
    const text = this.#isBlockEmpty ? thought.trimStart() : thought;
    if (text === "") return;
    const isFurther = this.#isBlockEmpty && this.#hasBlock;
    this.#isBlockEmpty = false;
    this.#tell({ type: "reasoning", text: isFurther ? `\n\n${text}` : text });
  }
}

/** Returns a whole text without what the model thought, and that. */
export function splitThinking(whole: string): { text: string; reasoning: string } {
  // Most texts have none, and code and lists have what begins like one.
  if (!ANY_TAG.test(whole)) return { text: whole, reasoning: "" };
  const split = { text: "", reasoning: "" };
  const tags = new ThinkTags((piece) => {
    if (piece.type === "restart") split.text = "";
    else split[piece.type] += piece.text;
  });
  tags.push(whole);
  tags.end();
  return split;
}

/** Returns the length of the end of a text that may be the beginning of a tag. */
function begunTag(text: string, tags: readonly string[]): number {
  for (let length = Math.min(14, text.length); length > 0; length--) {
    const tail = text.slice(-length);
    if (tags.some((tag) => tag.length > length && isTag(tail, tag.slice(0, length)))) return length;
  }
  return 0;
}

function isTag(text: string, tag: string): boolean {
  return text === tag || (tag.startsWith("<") && text.toLowerCase() === tag);
}

/** Returns where a tag stands in a text; -1 for nowhere. */
function placeOf(tag: string, text: string): number {
  return text.search(PATTERNS.get(tag) as RegExp);
}

/** Returns whether a closing tag is part of what is said: after its opening, in code, in quotes, in JSON, in a sentence. */
function isSpokenOf(before: string, after: string): boolean {
  if (OPENINGS.some((tag) => placeOf(tag, before) >= 0)) return true;
  const line = before.slice(before.lastIndexOf("\n") + 1);
  return (
    countOf(before, "```") % 2 === 1 ||
    countOf(line.replaceAll("```", ""), "`") % 2 === 1 ||
    /["'“‘«]$/.test(before) ||
    (/ $/.test(before) && /^[ .,;:!?)]/.test(after)) ||
    (/^\s*[{[]/.test(before) && countOf(before.replaceAll(/\\./g, ""), '"') % 2 === 1)
  );
}

function countOf(text: string, what: string): number {
  return text.split(what).length - 1;
}
