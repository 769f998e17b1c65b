import { count, counted } from "../../shared/counted.ts";
import { sha256 } from "../../shared/digest.ts";
import { usd } from "../../shared/usd.ts";
import type { startSimulator } from "../compose.ts";
import { type Paint, type Piece, padded, widthOf, wrapped } from "../progress/text-layout.ts";

export type DemoProvider = Awaited<ReturnType<typeof startSimulator>>;
type Journal = DemoProvider["journal"];
type Call = ReturnType<Journal["entries"]>[number];

/** USD per million tokens, as a large model costs. */
export const PRICES = { inputPerMillion: 2.5, outputPerMillion: 10 };

/** What was paid when the worker was killed, by the provider's journal. */
export interface Death {
  /** The calls of all workers that were answered until then, and their USD. */
  answeredByAll: number;
  usdByAll: number;
}

/** What the demo cost, counted by the provider's journal. */
export interface Bill {
  rows: number;
  answeredRows: number;
  /** Calls that reached the provider. */
  calls: number;
  /** Calls that were answered to the end: what is paid. */
  paidCalls: number;
  /** Calls that the kill cut off before their answer. */
  cutOffCalls: number;
  /** Calls whose question had been asked before: those that were cut off, asked again. */
  repeatedCalls: number;
  /** Calls that were paid although an equal one had been paid. */
  callsPaidTwice: number;
  spentUsd: number;
  /** Calls that the same batch made when it was started once more. */
  callsOfSecondRun: number;
  /** What a script that keeps no records would have paid again after the same kill. */
  withoutRecords: { calls: number; usd: number };
}

export function answered(calls: readonly Call[]): Call[] {
  return calls.filter(({ status, finishedAt, aborted }) => status === 200 && finishedAt !== null && !aborted);
}

export function usdOf(calls: readonly Call[]): number {
  const { inputPerMillion, outputPerMillion } = PRICES;
  const sum = calls.reduce(
    (total, call) => total + call.promptTokens * inputPerMillion + call.completionTokens * outputPerMillion,
    0,
  );
  return sum / 1e6;
}

/** The calls of the worker that has this key. */
export function callsOf(journal: Journal, key: string): Call[] {
  const digest = sha256(key).slice(0, 12);
  return journal.entries().filter((call) => call.key === digest);
}

/** Adds up what the journal says after the batch. */
export function addUp(
  journal: Journal,
  facts: { rows: number; answeredRows: number; callsOfSecondRun: number; death: Death },
): Bill {
  const { death, ...rest } = facts;
  const calls = journal.entries();
  const paid = answered(calls);
  const distinct = (some: readonly Call[]) => new Set(some.map(({ contentHash }) => contentHash)).size;
  return {
    ...rest,
    calls: calls.length,
    paidCalls: paid.length,
    cutOffCalls: calls.filter(({ aborted }) => aborted).length,
    repeatedCalls: calls.length - distinct(calls),
    callsPaidTwice: paid.length - distinct(paid),
    spentUsd: usdOf(paid),
    withoutRecords: { calls: death.answeredByAll, usd: death.usdByAll },
  };
}

/** The bill as lines for a terminal of so many columns. */
export function billLines(bill: Bill, columns: number, paint: Paint): string[] {
  const { callsPaidTwice, withoutRecords } = bill;
  const isTwice = callsPaidTwice > 0;
  const facts: [name: string, figure: Piece, note: string][] = [
    ["rows answered", { text: `${count(bill.answeredRows)} of ${count(bill.rows)}` }, ""],
    ["calls", { text: count(bill.calls) }, "by the provider's own journal"],
    ["  cut off", { text: count(bill.cutOffCalls) }, "by the kill, before their answer"],
    ["  repeated", { text: count(bill.repeatedCalls) }, "the same ones, asked again"],
    ["paid twice", { text: count(callsPaidTwice), style: isTwice ? "red" : "green" }, ""],
    ["second start", { text: counted(bill.callsOfSecondRun, "call") }, "every row has its answer already"],
    ["spent", { text: usd(bill.spentUsd), style: "bold" }, "made-up prices, real counting"],
    [
      "without records",
      { text: `+ ${usd(withoutRecords.usd)}`, style: "yellow" },
      `a script killed at that point asks ${counted(withoutRecords.calls, "paid call")} again`,
    ],
  ];
  const nameWidth = Math.max(...facts.map(([name]) => widthOf(name)));
  const figureWidth = Math.max(...facts.map(([, { text }]) => widthOf(text)));
  const indent = " ".repeat(nameWidth + 2);
  const title: Piece = { text: "THE BILL", style: "bold" };
  const lines = facts.flatMap(([name, figure, note]) => {
    const start = `${paint(padded(name, nameWidth), "dim")}  ${paint(padded(figure.text, figureWidth, true), figure.style)}`;
    const room = columns - nameWidth - figureWidth - 4;
    if (note === "") return [start];
    if (widthOf(note) <= room) return [`${start}  ${paint(note, "dim")}`];
    return [
      start,
      ...wrapped({ text: note, style: "dim" }, columns - indent.length, paint).map((line) => indent + line),
    ];
  });
  return [paint(title.text, title.style), paint("─".repeat(Math.min(columns, 72)), "dim"), ...lines];
}
