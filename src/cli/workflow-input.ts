import { readFileSync } from "node:fs";
import { type Agent, isAgent } from "../shared/agent.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import { isObject } from "../shared/json.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { inputShape, mapAgents } from "./input-shape.ts";

export interface WorkflowInputOptions {
  input?: string;
  /** `-` is standard input. */
  inputFile?: string;
  /** A JSON file with the other options. */
  config?: string;
}

/** The words of the command line as a workflow's input: the config file's options, and `input`. @throws InputError */
export function readWorkflowInput(
  { input: shape }: AnyWorkflow,
  { input, inputFile, config }: WorkflowInputOptions,
): unknown {
  const text = inputFile === undefined ? input : readText(inputFile, "input").trimEnd();
  if (config === undefined) {
    const takesFields = inputShape(shape).type === "object";
    return takesFields ? { ...(text !== undefined && { input: text }) } : text;
  }
  const options = parseJson(readText(config, "config"), `the config file ${config}`);
  if (text === undefined) return options;
  if (isObject(options)) return { ...options, input: text };
  throw new InputError(
    `the config file ${config} is no JSON object`,
    "give an object with the workflow's options, or leave --input out",
  );
}

/**
 * Agents that are given by name become those of the modules.
 * @throws InputError naming the field of an agent that no module has
 */
export function withAgents(
  { name, input: schema }: AnyWorkflow,
  input: unknown,
  agents: ReadonlyMap<string, Agent>,
): unknown {
  return mapAgents(input, inputShape(schema), (given, path) => {
    const agent = typeof given === "string" ? agents.get(given) : given;
    if (agent === undefined) {
      const known = [...agents.keys()].join(", ") || "none";
      throw new InputError(
        `the input of workflow "${name}" is wrong at ${path}: no agent "${given}"`,
        hintOf(
          didYouMean(String(given), agents.keys()),
          `known: ${known}; --module brings agents, and one can be written as {"name", "systemPrompt", "model", "tools"}`,
        ),
      );
    }
    return isAgent(agent) ? agent.toJSON() : agent;
  });
}

/** @throws InputError that says by which option what is missing or wrong is given */
export function checkInput({ name, input: schema }: AnyWorkflow, input: unknown): void {
  try {
    checkWith(schema, input, `the input of workflow "${name}"`);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const hasText = isObject(input) ? "input" in input : input !== undefined;
    const how = `--config FILE gives the options as JSON; gluellm workflow list ${name} shows them`;
    const text = "give it with --input TEXT, or with --input-file FILE (- is standard input)";
    throw new InputError(error.message, hintOf(error.hint, hasText ? undefined : text, how), error.code);
  }
}

/** @throws InputError */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${what} is not JSON: ${(error as Error).message}`);
  }
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new InputError(`the ${what} file ${path} cannot be read: ${code}`);
  }
}
