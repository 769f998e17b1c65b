import { PATTERNS } from "../patterns/all.ts";
import type { Pattern } from "../patterns/pattern.ts";
import { count } from "../shared/counted.ts";
import { usd } from "../shared/usd.ts";
import type { RunStatus } from "../workflows/run-status.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { limitTexts } from "../workflows/workflow-limits.ts";
import type { ActivityWorkers, WorkflowVersion } from "../workflows/workflow-runs.ts";
import { type InputField, inputFields, inputShape } from "./input-shape.ts";
import { table } from "./options.ts";
import { printable } from "./output.ts";
import { durationText } from "./step-tree.ts";

const MAX_DEFAULT_CHARS = 40;

/** What one needs to know of a workflow to start it. */
export interface WorkflowCard {
  name: string;
  version: number;
  /** Of patterns: when to take it, its calls as a formula, where the method comes from. */
  when?: string;
  calls?: string;
  source?: string;
  /** What its runs wait for before they begin, for people. */
  limits?: string[];
  options: InputField[];
}

/** The patterns, then the workflows of modules. */
export function workflowCards(workflows: readonly AnyWorkflow[]): WorkflowCard[] {
  const all: (AnyWorkflow | Pattern)[] = [...Object.values(PATTERNS), ...workflows];
  return all.map((workflow) => {
    const { name, version } = workflow;
    if (!("config" in workflow)) {
      const limits = limitTexts(workflow);
      const options = inputFields(inputShape(workflow.input));
      return { name, version, ...(limits.length > 0 && { limits }), options };
    }
    const { when, calls, source, config } = workflow;
    return { name, version, when, calls, source, options: inputFields(inputShape(config)) };
  });
}

/** Returns the cards as text for people. */
export function showCards(cards: readonly WorkflowCard[]): string {
  return cards.map(showCard).join("\n\n");
}

function showCard({ name, when, calls, source, limits, options }: WorkflowCard): string {
  const facts = [
    when,
    calls && `calls: ${calls}`,
    source && `source: ${source}`,
    limits && `limits: ${limits.join("; ")}`,
  ];
  const rows = options.map(({ name: option, type, isRequired, default: value, description }) => [
    `  ${option}`,
    type,
    value === undefined ? (isRequired ? "required" : "") : `default ${short(JSON.stringify(value))}`,
    description,
  ]);
  const lines = facts.flatMap((fact) => (fact ? [`  ${printable(fact)}`] : []));
  return [printable(name), ...lines, ...(rows.length > 0 ? [table(rows)] : [])].join("\n");
}

/** A prompt, for one, would push the descriptions off the screen; `--json` has the whole. */
function short(text: string): string {
  return text.length > MAX_DEFAULT_CHARS ? `${text.slice(0, MAX_DEFAULT_CHARS)}…` : text;
}

/** Runs as rows, the latest first. */
export function showRuns(runs: readonly RunStatus[], now = Date.now()): string {
  const rows = runs.map(({ id, workflow, state, createdAt, tokensUsed, costUsd, unpriced, waitsFor }) => [
    id,
    workflow,
    state,
    durationText(now - createdAt.getTime()),
    count(tokensUsed.total),
    `${usd(costUsd)}${unpriced > 0 ? " + ?" : ""}`,
    waitsFor.join("; "),
  ]);
  return table([["RUN", "WORKFLOW", "STATE", "AGE", "TOKENS", "COST", "WAITS FOR"], ...rows]);
}

/** Versions as rows, then activities. */
export function showVersions(
  versions: readonly WorkflowVersion[],
  activities: readonly ActivityWorkers[],
): string {
  const rows = versions.map(({ workflow, version, workers }) => [workflow, `${version}`, workers.join(" ")]);
  const activityRows = activities.map(({ activity, open, workers }) => [
    printable(activity),
    count(open),
    workers.join(" ") || "none: its runs wait for one",
  ]);
  return [
    rows.length === 0
      ? "no worker process with workflows is alive"
      : table([["WORKFLOW", "VERSION", "WORKERS"], ...rows]),
    ...(activityRows.length > 0 ? [table([["ACTIVITY", "OPEN", "WORKERS"], ...activityRows])] : []),
  ].join("\n\n");
}
