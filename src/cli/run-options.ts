import { type Command, InvalidArgumentError, Option } from "commander";
import { RUN_STATES, type RunSelection } from "../client/run-selection.ts";
import { integer } from "./options.ts";

/** What a command's options say of the runs that it is about. */
export interface SelectionOptions {
  workflow?: string;
  workflowVersion?: number;
  state?: (typeof RUN_STATES)[number];
  tag?: string;
  from?: Date;
  to?: Date;
}

/** Adds the options that choose runs. */
export function addSelectionOptions(command: Command): Command {
  return command
    .option("--workflow <name>", "runs of this workflow")
    .option("--workflow-version <n>", "begun by this version of it", integer(1))
    .addOption(new Option("--state <state>", "runs in this state").choices(RUN_STATES))
    .option("--tag <tag>", "that the runs were started with, such as team=search")
    .option("--from <time>", "started at or after this time, such as 2026-03-01T08:00Z", timeText)
    .option("--to <time>", "started before this time", timeText);
}

/** The runs that the options choose; undefined when they say nothing. */
export function selectionOf(options: SelectionOptions): RunSelection | undefined {
  const { workflow, workflowVersion: version, state, tag, from, to } = options;
  const selection = { workflow, version, state, tag, from, to };
  return Object.values(selection).some((value) => value !== undefined) ? selection : undefined;
}

/** A selection for people: `workflow=article state=failed`. */
export function selectionText(selection: RunSelection): string {
  const parts = Object.entries(selection).flatMap(([name, value]) => {
    if (value === undefined) return [];
    return `${name}=${value instanceof Date ? value.toISOString() : value}`;
  });
  return parts.join(" ");
}

/** A commander parser for points in time. */
function timeText(text: string): Date {
  const time = new Date(text);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError("It must be a date and time, such as 2026-03-01T08:00Z.");
}
