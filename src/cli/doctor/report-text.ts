import { counted } from "../../shared/counted.ts";
import { printable } from "../output.ts";
import { type Paint, padded, type Style, widthOf } from "../progress/text-layout.ts";
import type { CheckResult } from "./check.ts";
import type { DoctorReport } from "./examine.ts";

const MARKS: Record<CheckResult["status"], { mark: string; style: Style }> = {
  ok: { mark: "✓", style: "green" },
  warn: { mark: "!", style: "yellow" },
  fail: { mark: "✗", style: "red" },
};
const MARGIN = "  ";

/** How a report is drawn. */
export interface DoctorTextOptions {
  columns: number;
  paint: Paint;
}

/** Returns the checks of a group as lines. */
export function groupLines(results: readonly CheckResult[], { columns, paint }: DoctorTextOptions): string[] {
  const [first] = results;
  if (!first) return [];
  const nameWidth = Math.max(...results.map(({ name }) => widthOf(name)));
  const indent = MARGIN.length + 2 + nameWidth + 2;
  const lines = results.flatMap(({ name, status, seen, remedy }) => {
    const { mark, style } = MARKS[status];
    const head = `${MARGIN}${paint(mark, style)} ${padded(name, nameWidth)}  `;
    const linesOf = (text: string, mark = "") =>
      text.split("\n").flatMap((line) => broken(line && mark + line, columns - indent));
    const told = linesOf(seen).map((line) => (status === "ok" ? paint(line, "dim") : line));
    const todo = linesOf(remedy ?? "", "→ ").map((line) => paint(line, "cyan"));
    return [...told, ...todo].map((line, i) => (i === 0 ? head : " ".repeat(indent)) + line);
  });
  return [paint(first.group, "bold"), ...lines];
}

/** Returns what came of all of them as lines. */
export function summaryLines({ checks, notChecked }: DoctorReport, { paint }: DoctorTextOptions): string[] {
  const number = (status: CheckResult["status"]) => checks.filter((check) => check.status === status).length;
  const [faults, warnings] = [number("fail"), number("warn")];
  const parts = [
    paint(counted(faults, "fault"), faults > 0 ? "red" : undefined),
    paint(counted(warnings, "warning"), warnings > 0 ? "yellow" : undefined),
    `${number("ok")} fine`,
  ];
  const left =
    notChecked.length > 0 ? [`not looked at, for what failed before: ${notChecked.join(", ")}`] : [];
  return [parts.join(" · "), ...left];
}

/** Returns anybody's text as lines of at most so many columns, broken between words; words that are longer stay whole. */
function broken(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of printable(text).split(/\s+/).filter(Boolean)) {
    const line = lines.at(-1);
    if (line !== undefined && widthOf(line) + 1 + widthOf(word) <= columns)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
