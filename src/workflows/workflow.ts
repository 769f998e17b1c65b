import { byName } from "../shared/by-name.ts";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import type { Workflow, WorkflowOptions } from "./context.ts";
import { checkLimits, type WorkflowLimits } from "./workflow-limits.ts";

/**
 * The mark of workflows, known across copies of this package, such as the one a worker runs and the one a module of
 * workflows imports.
 */
const WORKFLOW = Symbol.for("gluellm.workflow");

/** A workflow of any types, as workers hold them. */
// biome-ignore lint/suspicious/noExplicitAny: a function's parameter accepts its own type only.
export type AnyWorkflow = Workflow<any, any, any>;

/** Returns a workflow. @throws ConfigurationError for a name or version that cannot be. */
export function defineWorkflow<Input, Output, Given = Input>(
  options: WorkflowOptions<Input, Output, Given>,
): Workflow<Input, Output, Given> {
  const { name, version = 1 } = options;
  if (!/^[\w.-]{1,100}$/.test(name)) {
    throw new ConfigurationError(`"${name}" cannot name a workflow`, "use letters, digits, _, - and .");
  }
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new ConfigurationError(`version of workflow "${name}" must be a whole number from 1`);
  }
  const { versionGraceMs = 0 } = options;
  if (!(versionGraceMs >= 0)) {
    throw new ConfigurationError(
      `versionGraceMs of workflow "${name}" must be at least 0, not ${versionGraceMs}`,
    );
  }
  checkLimits(name, options as WorkflowLimits<never>);
  return Object.freeze({ [WORKFLOW]: true, ...options, version });
}

export function isWorkflow(value: unknown): value is AnyWorkflow {
  return typeof value === "object" && value !== null && WORKFLOW in value;
}

/** Returns workflows by their names. @throws InputError (`duplicate_workflow`) when two of them share a name. */
export function workflowsByName(workflows: Iterable<AnyWorkflow>): Map<string, AnyWorkflow> {
  const hint = "give one of them another name; of several versions a worker has the latest";
  const duplicate = ({ name }: AnyWorkflow) =>
    new InputError(`two workflows are called "${name}"`, hint, "duplicate_workflow");
  return byName(workflows, ({ name }) => name, duplicate);
}
