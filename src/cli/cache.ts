import type { Command } from "commander";
import { GlueLLM } from "../client/glue-llm.ts";
import { counted } from "../shared/counted.ts";
import type { SemanticReport } from "../store/semantic-report.ts";
import { table } from "./options.ts";
import { jsonText, print, printable } from "./output.ts";

/** `gluellm cache report`. */
export function addCacheCommand(program: Command): void {
  program
    .command("cache")
    .description("The cache of answers.")
    .command("report")
    .description("What the semantic cache has done, or in shadow mode would have done, and what it saved.")
    .option("--json", "print all of it as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      await using client = new GlueLLM({ mode: "fleet" });
      const report = await client.cacheReport();
      print(`${json ? jsonText(report) : reportText(report)}\n`);
    });
}

function reportText(report: SemanticReport): string {
  const { since, asked, failed, near, served, vetoes, agreement, booking, examples } = report;
  if (since === undefined) {
    return "the semantic cache has compared no question; GLUELLM_SEMANTIC_CACHE=shadow lets it count, and answer nothing";
  }
  const refused = Object.entries(vetoes).filter(([, count]) => count > 0);
  const bands = agreement.bands.filter(({ agreed, differed }) => agreed + differed > 0);
  const usd = (value: number) => `$${value.toFixed(6)}`;
  return [
    `since ${since.toISOString()}: ${counted(asked, "question")} compared, ${failed} without a vector`,
    `${near} had a neighbour that nothing spoke against, ${served} were answered so`,
    `refused by rule: ${refused.map(([veto, count]) => `${veto} ${count}`).join(", ") || "none"}`,
    `saved ${usd(booking.savedUsd)} − vectors ${usd(booking.embeddingUsd)} − judges ${usd(booking.judgeUsd)} = ${usd(booking.netUsd)}`,
    ...(bands.length > 0
      ? [
          "",
          table([
            ["SIMILARITY FROM", "AGREED", "DIFFERED"],
            ...bands.map(({ from, agreed, differed }) => [String(from), String(agreed), String(differed)]),
          ]),
        ]
      : []),
    ...examples.flatMap(({ asked: one, earlier, similarity }) => [
      "",
      `differed at ${similarity.toFixed(4)}:`,
      `  asked:   ${printable(one)}`,
      `  earlier: ${printable(earlier)}`,
    ]),
  ].join("\n");
}
