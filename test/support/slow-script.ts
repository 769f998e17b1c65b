import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";

type Answer = (call: Call) => string | ScriptedAnswer;

/** The same answers, late enough that a kill after half of the calls falls into the middle of the run. */
export function slowScript(script: Record<string, Answer>): Record<string, (call: Call) => ScriptedAnswer> {
  const entries = Object.entries(script).map(([model, answer]) => {
    const slow = (call: Call): ScriptedAnswer => {
      const turn = answer(call);
      return { ...(typeof turn === "string" ? { reply: turn } : turn), latencyMs: 150 };
    };
    return [model, slow] as const;
  });
  return Object.fromEntries(entries);
}
