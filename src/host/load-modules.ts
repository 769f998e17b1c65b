import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Agent, addParts, emptyCode, isAgent, partsOfAgents } from "../shared/agent.ts";
import { ConfigurationError, GlueError } from "../shared/errors.ts";
import { type Guardrail, isGuardrail } from "../shared/guardrail.ts";
import { isStepFunction, type StepFunction, stepFunctionsByName } from "../shared/step-function.ts";
import { isSteps, type Steps } from "../shared/steps.ts";
import { isTool, type Tool } from "../shared/tool.ts";
import { type AnyActivity, activitiesByName, isActivity } from "../workflows/activity.ts";
import { type AnyWorkflow, isWorkflow, workflowsByName } from "../workflows/workflow.ts";

/** What modules bring into a worker, by name. */
export interface Definitions {
  /** Those of the agents too. */
  tools: Map<string, Tool>;
  agents: Map<string, Agent>;
  /** Those of the agents too. */
  guardrails: Map<string, Guardrail>;
  workflows: readonly AnyWorkflow[];
  /** Retrievers and evaluators, by reference. */
  functions: ReadonlyMap<string, StepFunction>;
  activities: readonly AnyActivity[];
  /** Functions of steps, by name. */
  steps: Map<string, Steps>;
}

/**
 * Imports modules by their paths, and gathers what they export: tools, agents, workflows, activities and more, alone or in arrays.
 * @throws ConfigurationError naming the module that cannot be loaded or exports nothing of use; InputError naming the
 * name that two definitions share.
 */
export async function loadModules(paths: readonly string[], cwd = process.cwd()): Promise<Definitions> {
  const exported = (await Promise.all(paths.map((path) => definitionsIn(path, resolve(cwd, path))))).flat();
  const code = emptyCode();
  const parts = partsOfAgents(exported.filter(isAgent), exported.filter(isTool));
  addParts(code, {
    ...parts,
    guardrails: [...exported.filter(isGuardrail), ...parts.guardrails],
    steps: [...exported.filter(isSteps), ...parts.steps],
  });
  const workflows = [...workflowsByName(exported.filter(isWorkflow)).values()];
  return {
    ...code,
    workflows,
    functions: stepFunctionsByName(exported.filter(isStepFunction)),
    activities: [...activitiesByName(exported.filter(isActivity)).values()],
  };
}

const DEFINITIONS = [isTool, isAgent, isWorkflow, isActivity, isStepFunction, isSteps, isGuardrail];

/** As `loadModules`. @throws ConfigurationError (`module_without_workflows`) when none of them exports a workflow */
export async function loadWorkflows(paths: readonly string[]): Promise<Definitions> {
  const definitions = await loadModules(paths);
  if (definitions.workflows.length > 0) return definitions;
  throw new ConfigurationError(
    `the module ${paths.join(", ")} exports no workflows`,
    "export what defineWorkflow returns",
    "module_without_workflows",
  );
}

async function definitionsIn(
  path: string,
  file: string,
): Promise<(Tool | Agent | AnyWorkflow | AnyActivity | StepFunction | Steps | Guardrail)[]> {
  const exported = await load(path, file);
  const values = Object.values(exported).flatMap((value: unknown) =>
    Array.isArray(value) ? value : [value],
  );
  const definitions = values.filter((value) => DEFINITIONS.some((isDefinition) => isDefinition(value)));
  if (definitions.length > 0) return definitions;
  throw new ConfigurationError(
    `the module ${path} exports no tools, agents, guardrails, workflows, activities, steps, retrievers, evaluators, rewards or environments`,
    "export what defineTool or defineWorkflow returns, or an Agent",
    "module_without_definitions",
  );
}

async function load(path: string, file: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new ConfigurationError(
      `the module ${path} cannot be loaded: ${reason}`,
      // A definition in it may be wrong.
      error instanceof GlueError ? error.hint : "give a JavaScript or TypeScript file",
      "module_not_loaded",
    );
  }
}
