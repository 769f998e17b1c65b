import type xterm from "@xterm/headless";

/*
 * Draws what stood on a terminal as an SVG: a moving one of several frames. Viewers that do not move pictures, and readers who want
 * none that move, see one frame. Each line is in the file once, however many frames have it.
 */

/** What stood there, and for how long it is shown. */
export interface Frame {
  lines: Line[];
  durationMs: number;
}

/** Texts of one look each; `column` from 0 on. */
type Line = Span[];
interface Span {
  text: string;
  column: number;
  look: string;
}

const CELL = { width: 8.4, height: 19 };
const MARGIN = 16;
const BACKGROUND = "#0d1117";
/** By what a cell says of itself: the colours of the palette, `d` for dim ones, `t` for all others. */
const COLOURS: Record<string, string> = {
  ...{ t: "#d1d7e0", d: "#7d8590" },
  ...{ c1: "#ff7b72", c2: "#3fb950", c3: "#d29922", c6: "#39c5cf" },
};
/** The characters of bars, which have to touch each other. */
const BARS = /[\u2500-\u259f]/;

/** Returns the lines of a terminal. */
export function linesOf(screen: xterm.Terminal): Line[] {
  const { active } = screen.buffer;
  const lines = Array.from({ length: screen.rows }, (_, row) => lineAt(screen, active.viewportY + row));
  return lines.slice(0, lines.findLastIndex((line) => line.length > 0) + 1);
}

/** Returns the text of a terminal. */
export function textOf(screen: xterm.Terminal): string {
  const { active } = screen.buffer;
  const texts = Array.from({ length: active.length }, (_, row) =>
    active.getLine(row)?.translateToString(true),
  );
  return texts.join("\n");
}

function lineAt(screen: xterm.Terminal, row: number): Line {
  const line = screen.buffer.active.getLine(row);
  const spans: Span[] = [];
  for (let column = 0; column < screen.cols; column++) {
    const cell = line?.getCell(column);
    if (!cell || cell.getWidth() === 0) continue;
    const colour = `c${cell.getFgColor()}`;
    const look = `${cell.isDim() ? "d" : colour in COLOURS ? colour : "t"}${cell.isBold() ? " b" : ""}`;
    const last = spans.at(-1);
    if (last?.look === look) last.text += cell.getChars() || " ";
    else spans.push({ text: cell.getChars() || " ", column, look });
  }
  return spans.flatMap(apart);
}

/** Words that stand far from each other get places of their own: a picture has one blank where a text has several. */
function apart({ text, column, look }: Span): Span[] {
  const words = [...text.matchAll(/\S+(?: \S+)*/g)];
  return words.map((word) => ({ text: word[0], column: column + word.index, look }));
}

/**
 * Returns the picture of frames that follow each other and begin anew after the last one.
 * @param still the index of the frame that is seen where nothing moves
 */
export function movingSvg(
  frames: readonly Frame[],
  { columns, still, label }: { columns: number; still: number; label: string },
): string {
  const width = Math.ceil(columns * CELL.width + 2 * MARGIN);
  const rows = Math.max(...frames.map(({ lines }) => lines.length));
  const height = Math.ceil(rows * CELL.height + 2 * MARGIN);
  const ids = new Map<string, number>();
  const idOf = (line: Line) => {
    const drawn = line.map(spanSvg).join("");
    if (!ids.has(drawn)) ids.set(drawn, ids.size);
    return ids.get(drawn);
  };
  // One below the other; the animation shows each through the window of the first one.
  const strip = frames.flatMap(({ lines }, n) =>
    lines.flatMap((line, row) => {
      const y = (n - still) * height + MARGIN + row * CELL.height;
      return line.length > 0 ? [`<use href="#l${idOf(line)}" y="${y}"/>`] : [];
    }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${label}">`,
    `<style>${style(frames, still, height)}</style>`,
    `<defs>${[...ids].map(([drawn, id]) => `<g id="l${id}">${drawn}</g>`).join("\n")}</defs>`,
    `<rect width="100%" height="100%" rx="8" fill="${BACKGROUND}"/>`,
    `<g class="f">${strip.join("")}</g>`,
    "</svg>",
    "",
  ].join("\n");
}

function style(frames: readonly Frame[], still: number, height: number): string {
  const totalMs = frames.reduce((sum, { durationMs }) => sum + durationMs, 0);
  let beforeMs = 0;
  const keys = frames.map(({ durationMs }, n) => {
    const percent = ((100 * beforeMs) / totalMs).toFixed(2);
    beforeMs += durationMs;
    return `${percent}%{transform:translateY(${(still - n) * height}px)}`;
  });
  return [
    "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}.b{font-weight:bold}",
    ...Object.entries(COLOURS).map(([name, colour]) => `.${name}{fill:${colour}}`),
    `@keyframes f{${keys.join("")}}`,
    `@media not (prefers-reduced-motion:reduce){.f{animation:f ${totalMs}ms step-end infinite}}`,
  ].join("");
}

/** The cells keep their places, whatever font there is. */
function spanSvg({ text, column, look }: Span): string {
  const x = (MARGIN + column * CELL.width).toFixed(1);
  const length = (text.length * CELL.width).toFixed(1);
  const glyphs = BARS.test(text) ? ' lengthAdjust="spacingAndGlyphs"' : "";
  const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="14" textLength="${length}"${glyphs} class="${look}">${escaped}</text>`;
}
