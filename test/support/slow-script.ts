import type { Call } from "../../src/simulator/call.ts";
import type { Turn } from "../../src/simulator/directive.ts";

type Answer = (call: Call) => string | Turn;

/** The same answers, late enough that a kill after half of the calls falls into the middle of the run. */
export function slowScript(script: Record<string, Answer>): Record<string, (call: Call) => Turn> {
  const entries = Object.entries(script).map(([model, answer]) => {
    const slow = (call: Call): Turn => {
      const turn = answer(call);
      return { ...(typeof turn === "string" ? { reply: turn } : turn), latencyMs: 150 };
    };
    return [model, slow] as const;
  });
  return Object.fromEntries(entries);
}
