import { createRequire } from "node:module";
import { printable } from "../output.ts";

/** A style of Node's `util.styleText`. */
export type Style = "bold" | "cyan" | "dim" | "green" | "red" | "yellow";

/** Returns a text with the colours of a style, or as it is where there are none. */
export type Paint = (text: string, style: Style | undefined) => string;

/** A text of one style. */
export interface Piece {
  text: string;
  style?: Style;
}

/** A column of a table. */
export interface Column {
  heading: string;
  /** From the first row to the last. */
  cells: readonly Piece[];
  isNumber?: boolean;
}

const SEPARATOR = " · ";
const GAP = 2;
const MIN_NAME_COLUMNS = 12;
const graphemes = new Intl.Segmenter();

let widthOfAny: typeof import("string-width").default | undefined;

/** Returns how many columns of a terminal a text has. The package that knows it of all of Unicode is loaded by the first text beyond ASCII. */
export function widthOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  widthOfAny ??= (createRequire(import.meta.url)("string-width") as typeof import("string-width")).default;
  return widthOfAny(text);
}

/** Returns anybody's text as one line that a terminal only shows. */
export function oneLine(text: string): string {
  return printable(text).replace(/\s+/g, " ").trim();
}

/** Returns the text in at most so many columns; what does not fit is cut out of the middle, or off the end. */
export function fitted(text: string, columns: number, { from = "middle" }: { from?: "middle" | "end" } = {}) {
  if (widthOf(text) <= columns) return text;
  if (columns <= 1) return "…".slice(0, columns);
  const characters = [...graphemes.segment(text)].map(({ segment }) => segment);
  const tail = from === "end" ? 0 : Math.floor((columns - 1) / 2);
  const head = taken(characters, columns - 1 - tail);
  return `${head}…${taken(characters.reverse(), tail, true)}`;
}

/** The first characters that fit into so many columns. */
function taken(characters: readonly string[], columns: number, isReversed = false): string {
  let text = "";
  let width = 0;
  for (const character of characters) {
    width += widthOf(character);
    if (width > columns) break;
    text = isReversed ? character + text : text + character;
  }
  return text;
}

/** Returns the text filled up with blanks to so many columns; a text that is too wide stays as it is. */
export function padded(text: string, columns: number, isNumber = false): string {
  const blanks = " ".repeat(Math.max(0, columns - widthOf(text)));
  return isNumber ? blanks + text : text + blanks;
}

/** Returns two texts at the two ends of a line; the left one gives way. */
export function bothEnds(left: Piece, right: Piece, columns: number, paint: Paint): string {
  const end = fitted(right.text, columns);
  const room = columns - widthOf(end) - GAP;
  if (room < 4) return paint(end, right.style);
  const start = padded(fitted(left.text, room), room);
  return `${paint(start, left.style)}${" ".repeat(GAP)}${paint(end, right.style)}`;
}

/** Returns the pieces side by side on as many lines as they need. */
export function flowed(pieces: readonly Piece[], columns: number, paint: Paint): string[] {
  const lines: Piece[][] = [];
  let width = 0;
  for (const { text, style } of pieces) {
    const piece = { text: fitted(text, columns, { from: "end" }), style };
    const added = SEPARATOR.length + widthOf(piece.text);
    const line = lines.at(-1);
    if (line && width + added <= columns) {
      line.push(piece);
      width += added;
    } else {
      lines.push([piece]);
      width = added - SEPARATOR.length;
    }
  }
  return lines.map((line) => line.map(({ text, style }) => paint(text, style)).join(paint(SEPARATOR, "dim")));
}

/** Returns a text on lines broken between words, the second and later ones indented. */
export function wrapped({ text, style }: Piece, columns: number, paint: Paint): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").map((each) => fitted(each, columns - GAP))) {
    const line = lines.at(-1);
    if (line !== undefined && widthOf(line) + 1 + widthOf(word) <= columns)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(lines.length === 0 ? word : " ".repeat(GAP) + word);
  }
  return lines.map((line) => paint(line, style));
}

/**
 * Returns a table with its headings. The first column has what room the others leave; of the others the last ones go
 * when there is too little.
 */
export function tableLines(table: readonly Column[], columns: number, paint: Paint): string[] {
  const [name, ...others] = table;
  if (!name) return [];
  const columnWidth = ({ heading, cells }: Column) =>
    Math.max(widthOf(heading), ...cells.map(({ text }) => widthOf(text)));
  const least = Math.min(columnWidth(name), Math.max(MIN_NAME_COLUMNS, Math.floor(columns / 3)));
  let room = columns - least;
  const kept = others.filter((column) => {
    room = room < 0 ? room : room - columnWidth(column) - GAP;
    return room >= 0;
  });
  const used = kept.reduce((sum, column) => sum + columnWidth(column) + GAP, 0);
  const widths = [Math.min(columnWidth(name), columns - used), ...kept.map(columnWidth)];
  const lineOf = (pieces: readonly (Piece & { isNumber?: boolean | undefined })[]) =>
    pieces
      .map(({ text, style, isNumber }, i) => {
        const width = widths[i] ?? 0;
        return paint(padded(fitted(text, width), width, isNumber), style);
      })
      .join(" ".repeat(GAP));
  const shown = [name, ...kept];
  const headings = shown.map(({ heading, isNumber }) => ({ text: heading, style: "dim" as const, isNumber }));
  const rows = name.cells.map((_, row) =>
    lineOf(shown.map(({ cells, isNumber }) => ({ text: "", ...cells[row], isNumber }))),
  );
  return [lineOf(headings), ...rows];
}

/** Returns the lines of the first choice that fits into so many rows, else as many of the last one; without a number all of the first. */
export function firstThatFits<Choice>(
  choices: readonly Choice[],
  rows: number | undefined,
  draw: (choice: Choice) => string[],
): string[] {
  let drawn: string[] = [];
  for (const choice of choices) {
    drawn = draw(choice);
    if (rows === undefined || drawn.length <= rows) break;
  }
  return drawn.slice(0, rows);
}
