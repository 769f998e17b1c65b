import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  FLEET_GAUGES,
  INSTRUMENTS,
  type Instrument,
  PROCESS_GAUGES,
} from "../src/telemetry/metrics-catalog.ts";
import { cell, withGeneratedPart } from "./generated-part.ts";

/*
 * The tables of docs/observability.md that are made from the catalog of metrics; `node tools/metrics-docs.ts` writes them anew.
 */

export const DOCS = join(import.meta.dirname, "../docs/observability.md");

interface Row {
  help: string;
  labels: readonly string[];
  kind?: string;
}

function table(title: string, rows: Readonly<Record<string, Row>>): string {
  const lines = Object.entries(rows).map(([name, { help, labels, kind = "gauge" }]) => {
    const shown = labels.length > 0 ? `{${labels.join(",")}}` : "";
    return `| \`${name}${shown}\` | ${kind} | ${cell(help)} |\n`;
  });
  return `${title}\n\n| metric | kind | what |\n| --- | --- | --- |\n${lines.join("")}\n`;
}

export function withMetricsDocs(text: string): string {
  const parts = [
    table("Counted by each process:", INSTRUMENTS satisfies Record<string, Instrument>),
    table("Read off each process:", PROCESS_GAUGES),
    table("Read of the fleet, told by one process:", FLEET_GAUGES),
  ];
  return withGeneratedPart(text, "metrics", parts.join(""));
}

if (import.meta.main) writeFileSync(DOCS, withMetricsDocs(readFileSync(DOCS, "utf8")));
