import { InputError } from "../shared/errors.ts";
import { matchesGlob } from "../shared/glob.ts";
import { isObject } from "../shared/json.ts";
import type { Call } from "../simulator/call.ts";
import type { AnswerScript, ScriptedAnswer } from "../simulator/directive.ts";
import { InvalidCallError } from "../simulator/invalid-call.ts";

/** What a model is asked, as its script sees it. */
export interface ModelRequest {
  /** The model's name, without its provider. */
  model: string;
  /** The last user message with a text. */
  prompt: string;
  /** The system prompt; "" when there is none. */
  system: string;
  /** The number of answers before this one in the conversation. */
  turn: number;
  /** The texts of the results of tools that the model has called. */
  toolResults: readonly string[];
  /** The names of the tools that it may call. */
  toolNames: readonly string[];
  /** The schema of the structured answer that is asked for; undefined when none is. */
  schema: object | boolean | undefined;
}

/**
 * An answer of a model: its text, or `{ json }`, `{ toolCalls: [{ name, arguments }] }`, `{ reply, tokens }`, or a fault
 * such as `{ error: "429" }`.
 */
export type ModelAnswer = string | ScriptedAnswer;

/** The answers of a model: one for each request, in their order, or by a function of what it is asked. */
export type ModelScript = readonly ModelAnswer[] | ((request: ModelRequest) => ModelAnswer);

/** The scripts by the model, as `provider:model` or the model's name, in which `*` stands for anything; or one for all. */
export type ModelScripts = ModelScript | Readonly<Record<string, ModelScript>>;

/** Answers the models' requests by their scripts. A fault of a script fails the request, and is kept for the test. */
export class ScriptedModels {
  readonly #scripts: readonly (readonly [pattern: string, script: ModelScript])[];
  /** How many answers of each list were given. */
  readonly #given = new Map<ModelScript, number>();
  /** The requests in the order in which they came. */
  readonly requests: ModelRequest[] = [];
  /** The first thing that a script threw. */
  fault: Error | undefined;

  /** @throws InputError for a script that is neither a list nor a function */
  constructor(scripts: ModelScripts) {
    const isOne = typeof scripts === "function" || Array.isArray(scripts);
    this.#scripts = isOne
      ? [["*", scripts as ModelScript]]
      : Object.entries(scripts as Record<string, ModelScript>);
    for (const [pattern, script] of this.#scripts) {
      if (typeof script === "function" || Array.isArray(script)) continue;
      throw new InputError(`the script of model "${pattern}" is neither a list of answers nor a function`);
    }
  }

  /** Answers one request. */
  readonly answer: AnswerScript = (call) => {
    const request = requestOf(call);
    this.requests.push(request);
    try {
      const answer = this.#answerOf(request);
      if (typeof answer === "string") return { reply: answer };
      if (isObject(answer) && !("then" in answer)) return answer as ScriptedAnswer;
      throw new InputError(
        `the script of model "${request.model}" gave no answer`,
        "return a text or an object such as { json }, { toolCalls } or { error }; it cannot be a promise",
      );
    } catch (error) {
      this.fault ??= error as Error;
      // The provider's refusal is final: the call is not made again.
      throw new InvalidCallError((error as Error).message);
    }
  };

  #answerOf(request: ModelRequest): ModelAnswer | undefined {
    const { model } = request;
    const script = this.#scripts.find(([pattern]) =>
      // Names of models may have a colon themselves.
      [pattern, pattern.slice(pattern.indexOf(":") + 1)].some((one) => matchesGlob(one, model)),
    )?.[1];
    if (script === undefined) {
      const known = this.#scripts.map(([pattern]) => pattern).join(", ") || "none";
      throw new InputError(`no script for model "${model}"`, `scripts are there for: ${known}`);
    }
    if (typeof script === "function") return script(request);
    const place = this.#given.get(script) ?? 0;
    this.#given.set(script, place + 1);
    if (place < script.length) return script[place];
    throw new InputError(
      `the script of model "${model}" has ${script.length} answers, and a further one was asked for`,
      `the request: ${request.prompt.slice(0, 200)}`,
    );
  }
}

function requestOf(call: Call): ModelRequest {
  return {
    model: call.model,
    prompt: call.lastUserText,
    system: call.systemText,
    turn: call.turn,
    toolResults: call.toolResults,
    toolNames: call.tools.map(({ name }) => name),
    schema: call.answerSchema,
  };
}
