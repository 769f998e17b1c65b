import { styleText } from "node:util";
import type { Command } from "commander";
import { EXIT } from "../exit.ts";
import { jsonText } from "../output.ts";
import type { Paint } from "../progress/text-layout.ts";
import { examine } from "./examine.ts";
import { groupLines, summaryLines } from "./report-text.ts";

const MAX_COLUMNS = 100;

/** `gluellm doctor`. */
export function addDoctorCommand(program: Command): void {
  program
    .command("doctor")
    .description(
      "Look for what is wrong with settings, Redis, keys, queues, workers, files, and say what to type.",
    )
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      "\nIt changes nothing and spends no tokens. Exit code 1 when something is wrong, 0 with warnings or none.",
    )
    .action(async ({ json = false }: { json?: boolean }) => {
      const columns = Math.min(process.stdout.columns ?? 80, MAX_COLUMNS);
      const options = { columns, paint };
      const write = (lines: readonly string[]) => process.stdout.write(`${lines.join("\n")}\n\n`);
      const report = await examine((results) => {
        if (!json) write(groupLines(results, options));
      });
      process.stdout.write(json ? `${jsonText(report)}\n` : `${summaryLines(report, options).join("\n")}\n`);
      if (report.status === "fail") process.exitCode = EXIT.rowsFailed;
    });
}

const paint: Paint = (text, style) => (style ? styleText(style, text, { stream: process.stdout }) : text);
