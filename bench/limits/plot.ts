import type { Second } from "./figures.ts";

interface Step {
  fromSeconds: number;
  toSeconds: number;
  perSecond: number;
}

interface Line {
  title: string;
  seconds: Second[];
}

const WIDTH = 900;
const HEIGHT = 330;
const LEFT = 60;
const RIGHT = 20;
const TOP = 44;
/** The 429s of each line lie in a strip of its own below the axis. */
const STRIP = 20;
const AXIS = 46;
const COLORS = ["#0b6e4f", "#c1440e"];
const ALLOWED = "#555555";

/** Requests per second over time: what the limits allow as steps, what was accepted as lines, 429s as dots below. */
export function plotOf(steps: readonly Step[], lines: readonly Line[]): string {
  const bottom = HEIGHT - AXIS - STRIP * lines.length;
  const lastSecond = Math.max(...steps.map(({ toSeconds }) => toSeconds));
  const peaks = lines.flatMap((line) => line.seconds.map(({ accepted }) => accepted));
  const top = Math.ceil(Math.max(...peaks, ...steps.map(({ perSecond }) => perSecond)) / 25) * 25;
  const x = (second: number) => round(LEFT + (second / lastSecond) * (WIDTH - LEFT - RIGHT));
  const y = (perSecond: number) => round(bottom - (perSecond / top) * (bottom - TOP));
  const allowed = steps.map(
    ({ fromSeconds, toSeconds, perSecond }) => `H${x(fromSeconds)}V${y(perSecond)}H${x(toSeconds)}`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#222222">`,
    `<title>Allowed and used requests per second while the provider halves and doubles its limit</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...ticks(top, 25).map((rate) => gridLine(y(rate), rate)),
    ...ticks(lastSecond, 10).map((second) => text(x(second), HEIGHT - 22, String(second), "middle")),
    text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 6, "seconds", "middle"),
    `<text transform="translate(16 ${(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">requests per second</text>`,
    `<path d="M${x(0)} ${y(0)}${allowed.join("")}V${y(0)}" fill="none" stroke="${ALLOWED}" stroke-width="1.5" stroke-dasharray="6 4"/>`,
    ...lines.toReversed().map(({ seconds }, index) => {
      const points = seconds.map(({ accepted }, second) => `${x(second + 0.5)},${y(accepted)}`);
      return `<polyline points="${points.join(" ")}" fill="none" stroke="${COLORS[lines.length - 1 - index]}" stroke-width="2" stroke-opacity="0.8" stroke-linejoin="round"/>`;
    }),
    ...lines.flatMap((line, index) => dots(line, COLORS[index]!, x, bottom + 6 + STRIP * (index + 0.5))),
    ...legend(lines),
    "</svg>",
    "",
  ].join("\n");
}

function gridLine(y: number, rate: number): string {
  const line = `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}" stroke="#dddddd"/>`;
  return `${line}${text(LEFT - 8, y + 4, String(rate), "end")}`;
}

/** Area by number: ten times as many 429s have a little more than twice the radius. */
function dots({ seconds }: Line, color: string, x: (second: number) => number, y: number): string[] {
  const label = `<text x="${LEFT - 8}" y="${y + 4}" text-anchor="end" fill="${color}">429s</text>`;
  return [
    label,
    ...seconds.flatMap(({ limited }, second) =>
      limited === 0
        ? []
        : [
            `<circle cx="${x(second + 0.5)}" cy="${y}" r="${round(Math.min(8, 1.5 + 2.2 * Math.log10(limited)))}" fill="${color}" fill-opacity="0.6"/>`,
          ],
    ),
  ];
}

function legend(lines: readonly Line[]): string[] {
  const entries = [
    { title: "allowed by the provider", color: ALLOWED, dash: ` stroke-dasharray="6 4"` },
    ...lines.map(({ title, seconds }, index) => {
      const limited = seconds.reduce((sum, second) => sum + second.limited, 0);
      return { title: `used by ${title} (${limited} 429s)`, color: COLORS[index], dash: "" };
    }),
  ];
  return entries.map(({ title, color, dash }, index) => {
    const x = LEFT + index * 270;
    return `<line x1="${x}" x2="${x + 26}" y1="20" y2="20" stroke="${color}" stroke-width="2"${dash}/>${text(x + 34, 24, title, "start")}`;
  });
}

function text(x: number, y: number, content: string, anchor: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${content}</text>`;
}

function ticks(last: number, step: number): number[] {
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, index) => index * step);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
