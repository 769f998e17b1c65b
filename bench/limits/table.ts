import { readFileSync, writeFileSync } from "node:fs";

export interface Table {
  title: string;
  /** The parameters that all rows share. */
  about: string;
  head: string[];
  rows: string[][];
}

export function markdown({ title, about, head, rows }: Table): string {
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return [`### ${title}`, "", about, "", ...lines, ""].join("\n");
}

/** What the case should reach, and whether it did. */
export function verdict(target: string, isMet: boolean): string {
  return isMet ? target : `${target}: MISSED`;
}

export function percent(share: number, digits = 1): string {
  return `${(share * 100).toFixed(digits)} %`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 0)} s`;
}

const BEGIN = "<!-- bench:limits -->";
const END = "<!-- /bench:limits -->";

/** Replaces what stands between the two markers; everything else in the file is somebody's text. */
export function writeBetweenMarkers(path: string, text: string): void {
  const document = readDocument(path);
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${path} lacks ${BEGIN} … ${END}`);
  writeFileSync(path, `${document.slice(0, begin + BEGIN.length)}\n${text}\n${document.slice(end)}`);
}

function readDocument(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return `${BEGIN}\n${END}\n`;
  }
}
