import type { Second } from "../limits/figures.ts";

/** A run that was killed in the middle. */
interface Run {
  title: string;
  killedAfterSeconds?: number;
  seconds: Second[];
}

const [WIDTH, LEFT, RIGHT, TOP, STRIP, BAND] = [900, 60, 20, 34, 84, 54];
const [ACCEPTED, REFUSED, KILLED] = ["#0b6e4f", "#c1440e", "#555555"];

/** A strip for each run: what the provider accepted in each second as bars upwards, what it refused as bars of their own colour on top. */
export function plotOf(runs: readonly Run[]): string {
  const height = TOP + runs.length * STRIP + 30;
  const lastSecond = Math.max(...runs.map(({ seconds }) => seconds.length));
  // Refusals may be many times what is accepted: a bar ends at the top of its strip.
  const top = 2 * Math.max(...runs.flatMap(({ seconds }) => seconds.map(({ accepted }) => accepted)));
  const x = (second: number) => round(LEFT + (second / lastSecond) * (WIDTH - LEFT - RIGHT));
  const tall = (count: number) => round((Math.min(top, count) / top) * BAND);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222222">`,
    `<title>Calls accepted and refused in each second of a run that is killed in the middle and started again</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...legend(),
    ...runs.flatMap(({ title, seconds, killedAfterSeconds = 0 }, index) => {
      const bottom = TOP + (index + 1) * STRIP;
      const bar = (second: number, from: number, count: number, color: string) =>
        count === 0
          ? ""
          : `<rect x="${x(second)}" y="${round(bottom - tall(from + count))}" width="${round(x(second + 0.85) - x(second))}" height="${round(tall(from + count) - tall(from))}" fill="${color}"/>`;
      const refused = seconds.reduce((sum, { limited }) => sum + limited, 0);
      return [
        text(LEFT, bottom - BAND - 6, `${title.replaceAll("`", "")}: ${refused} 429s`, "start"),
        `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${bottom}" y2="${bottom}" stroke="#bbbbbb"/>`,
        ...seconds.map(({ accepted }, second) => bar(second, 0, accepted, ACCEPTED)),
        ...seconds.map(({ accepted, limited }, second) => bar(second, accepted, limited, REFUSED)),
        `<line x1="${x(killedAfterSeconds)}" x2="${x(killedAfterSeconds)}" y1="${bottom - BAND}" y2="${bottom}" stroke="${KILLED}" stroke-dasharray="4 3"/>`,
        text(LEFT - 8, bottom, "0", "end"),
        text(LEFT - 8, bottom - tall(top / 2) + 4, String(Math.round(top / 2)), "end"),
      ];
    }),
    ...Array.from({ length: Math.floor(lastSecond / 10) + 1 }, (_, n) =>
      text(x(n * 10), height - 12, `${n * 10} s`, "middle"),
    ),
    "</svg>",
    "",
  ].join("\n");
}

function legend(): string[] {
  const entries = [
    ["accepted in a second", ACCEPTED],
    ["refused with 429 (cut at the top)", REFUSED],
    ["kill -9, started again at once", KILLED],
  ] as const;
  return entries.map(
    ([label, color], index) =>
      `<rect x="${LEFT + index * 260}" y="8" width="12" height="12" fill="${color}"/>${text(LEFT + 18 + index * 260, 18, label, "start")}`,
  );
}

function text(x: number, y: number, content: string, anchor: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${content}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
