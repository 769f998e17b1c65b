import { type Command, InvalidArgumentError } from "commander";
import {
  ERROR_DIMENSIONS,
  type ErrorDimension,
  type ErrorGroup,
  type ErrorReport,
  readErrorReport,
} from "../producers/error-report.ts";
import { count, counted } from "../shared/counted.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { loadSettings } from "../shared/settings.ts";
import { usd } from "../shared/usd.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { table } from "./options.ts";
import { jsonText, printable } from "./output.ts";
import { asTyped } from "./own-command.ts";

const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

interface ErrorsOptions {
  since: Date;
  by?: ErrorDimension[];
  tenant?: string;
  json?: boolean;
}

/** `gluellm errors`. */
export function addErrorsCommand(program: Command): void {
  program
    .command("errors")
    .description("What failed: counts, an example job of each, and what stands out.")
    .option(
      "--since <time>",
      "how far back, such as 30m, 6h or 7d, or an ISO time; counts are by the hour",
      since,
    )
    .option(
      "--by <names>",
      `what to group by, such as code,tenant: ${ERROR_DIMENSIONS.join(", ")}`,
      dimensions,
    )
    .option("--tenant <name>", "those of one tenant")
    .option("--json", "as JSON")
    .action(async ({ json, ...query }: ErrorsOptions) => {
      const settings = loadSettings();
      const logger = loggerOf(settings, "warn");
      await using host = await openRedis(settings, logger);
      const report = await readErrorReport(host.store, query);
      process.stdout.write(`${json ? jsonText(report) : show(report, query.by)}\n`);
    });
}

/** A commander parser for a time before now, or an ISO time. */
function since(text: string): Date {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([mhd])$/.exec(text) ?? [];
  const time = number ? Date.now() - Number(number) * (UNITS[unit] ?? 0) : Date.parse(text);
  if (Number.isNaN(time) || time > Date.now()) {
    throw new InvalidArgumentError("It must be 30m, 6h, 7d or the like, or an ISO time in the past.");
  }
  return new Date(time);
}

function dimensions(text: string): ErrorDimension[] {
  return text.split(",").map((name) => {
    const known = ERROR_DIMENSIONS.find((each) => each === name.trim());
    if (known) return known;
    throw new InvalidArgumentError(
      `"${printable(name)}" is none; ${hintOf(didYouMean(name, ERROR_DIMENSIONS), `known: ${ERROR_DIMENSIONS.join(", ")}`)}.`,
    );
  });
}

function show(report: ErrorReport, by: readonly ErrorDimension[] = ["code", "model"]): string {
  const { since, failed, failedCalls, succeeded, spentUsd, groups, patterns } = report;
  const ended = failed + succeeded;
  const share = ended > 0 ? ` of ${count(ended)} jobs and runs that ended (${percent(failed / ended)})` : "";
  const calls = `${counted(failedCalls, "call")} failed`;
  const head = `since ${hourText(since)}: ${count(failed)} failed${share}, ${calls}${
    spentUsd ? `, ${usd(spentUsd)} spent` : ""
  }`;
  if (groups.length === 0) return head;
  const told = patterns.flatMap(({ text, hint }) => [
    `! ${printable(text)}`,
    `  → ${asTyped(printable(hint))}`,
  ]);
  const hasExamples = groups.some(({ example }) => example);
  const rows = groups.map((group) => [
    ...by.map((name) => cell(group, name)),
    count(group.failed),
    count(group.failedCalls),
    ...(hasExamples ? [group.example?.id ?? ""] : []),
  ]);
  const heading = [...by.map((name) => name.toUpperCase()), "FAILED", "CALLS FAILED"];
  const lines = [
    head,
    ...told,
    "",
    table([[...heading, ...(hasExamples ? ["LATEST EXAMPLE"] : [])], ...rows]),
  ];
  const [first] = groups.flatMap(({ example }) => example ?? []);
  if (first) lines.push("", `${first.id}: ${printable(first.message)}`);
  return lines.join("\n");
}

function cell(group: ErrorGroup, name: ErrorDimension): string {
  if (name === "hour") return group.hour ? hourText(group.hour) : "";
  return group[name] || "-";
}

function hourText(hour: Date): string {
  return `${hour.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

function percent(share: number): string {
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}
