import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RoundReport } from "./round.ts";

const ROOT = join(import.meta.dirname, "../..");
/** One line for each round of all campaigns. */
export const REPORT = join(ROOT, "docs/chaos-report.jsonl");

/** The first commit after what campaigns have found was mended. */
const LAST_MEND = "8b465e67";

const PLACE = /(<!-- campaigns -->).*(<!-- \/campaigns -->)/s;

/** The pages that tell its sums: each as it stands, and as it should. */
export function pagesOfReport(): { path: string; present: string; right: string }[] {
  const lines = readFileSync(REPORT, "utf8").split("\n").filter(Boolean);
  const rounds = lines.map((line) => JSON.parse(line) as RoundReport & { commit: string });
  const first = rounds.findIndex(({ commit }) => commit === LAST_MEND);
  const since = first < 0 ? [] : rounds.slice(first);
  return [
    { path: join(ROOT, "docs/recovery.md"), text: tableOf(rounds, since) },
    { path: join(ROOT, "README.md"), text: sentenceOf(rounds, since) },
  ].map(({ path, text }) => {
    const present = readFileSync(path, "utf8");
    return { path, present, right: present.replace(PLACE, (_, head, foot) => `${head}${text}${foot}`) };
  });
}

function tableOf(rounds: readonly RoundReport[], since: readonly RoundReport[]): string {
  const [all, last] = [cellsOf(rounds), cellsOf(since)];
  const rows = all.map(([name, cell], n) => `| ${name} | ${cell} | ${last[n]?.[1]} |`);
  return `\n\n${["| | all campaigns | since the last mend |", "|---|---|---|", ...rows].join("\n")}\n\n`;
}

function cellsOf(rounds: readonly RoundReport[]): [string, string][] {
  const { deaths, troubles, calls, repeated, paidAgain, lost, wrong } = sumsOf(rounds);
  return [
    ["rounds", number(rounds.length)],
    ["deaths", byKind(deaths)],
    ["other troubles", byKind(troubles)],
    ["calls", number(calls)],
    ["repeated, as they were in flight", number(repeated - paidAgain)],
    ["paid again though they were recorded", number(paidAgain)],
    ["lost", number(lost)],
    ["wrong", number(wrong)],
  ];
}

function sentenceOf(rounds: readonly RoundReport[], since: readonly RoundReport[]): string {
  const [all, last] = [sumsOf(rounds), sumsOf(since)];
  return [
    `In [campaigns](docs/recovery.md#campaigns) of ${number(total(all.deaths))} deaths and ${number(total(all.troubles))} other troubles`,
    ` ${number(all.lost)} pieces of work were lost, ${number(all.wrong)} had a wrong end,`,
    ` and ${number(all.paidAgain)} of ${number(all.calls)} calls were paid again although they were recorded;`,
    ` since what they found was mended, in ${number(total(last.deaths))} deaths: ${number(last.lost)}, ${number(last.wrong)} and ${number(last.paidAgain)}.`,
  ].join("");
}

function sumsOf(rounds: readonly RoundReport[]) {
  const sum = (of: (round: RoundReport) => number) => rounds.reduce((all, round) => all + of(round), 0);
  const counts = (of: (round: RoundReport) => Record<string, number>) => {
    const all: Record<string, number> = {};
    for (const round of rounds)
      for (const [kind, count] of Object.entries(of(round))) all[kind] = (all[kind] ?? 0) + count;
    return all;
  };
  return {
    deaths: counts(({ deaths }) => deaths),
    troubles: counts(({ troubles }) => troubles),
    calls: sum(({ calls }) => calls),
    repeated: sum(({ repeated }) => repeated),
    paidAgain: sum(({ paidAgain }) => paidAgain.length),
    lost: sum(({ lost }) => lost.length),
    wrong: sum(({ wrong }) => wrong.length),
  };
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function byKind(counts: Record<string, number>): string {
  const kinds = Object.entries(counts).sort();
  const parts = kinds.map(([kind, count]) => `${kind} ${number(count)}`);
  return `${number(total(counts))} (${parts.join(", ")})`;
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
