import { expect, test } from "vitest";
import { GlueLLM, type Pattern, type PatternResult, type StepFunction } from "../../src/index.ts";
import { PATTERNS } from "../../src/patterns/all.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";
import { sampleOf } from "./sample.ts";
import { SHORT_LOCKS } from "./site.ts";
import { waitFor } from "./wait-for.ts";
import { workflowSite } from "./workflow-site.ts";

const SURVIVORS = sampleOf("patterns with a killed worker", Object.keys(PATTERNS), 2);
const unconnected = new GlueLLM({
  mode: "fleet",
  settings: loadSettings({ env: { GLUELLM_REDIS_URL: "redis://127.0.0.1:1" }, cwd: "/" }),
});

/** A start that is refused before Redis is asked. */
// biome-ignore lint/suspicious/noExplicitAny: each pattern has an input of its own.
export function startWithoutRedis(pattern: Pattern<any>, input: unknown) {
  return unconnected.workflows.start(pattern, input);
}

/** A test that kills a pattern's worker: of every pattern in `npm run test:full`, else of two, as the engine is the same. */
// biome-ignore lint/suspicious/noExplicitAny: each pattern has an input of its own.
export function killTest(pattern: Pattern<any>, title: string, run: () => Promise<void>): void {
  if (SURVIVORS.includes(pattern.name)) test(title, { tags: "long" }, run);
}

/**
 * Answers by model, which stands for the agent in these tests: `simulator:critic` is answered by `critic`. A list is
 * played call by call, its last entry again and again; a text stands for `{reply: text}`.
 */
export type Script = Record<string, Scripted | readonly Scripted[] | ((call: Call, n: number) => Scripted)>;
type Scripted = string | ScriptedAnswer;

/** A fleet whose models follow a script, and whose worker has these retrievers and evaluators. */
export async function patternSite(script: Script = {}, ...functions: StepFunction[]) {
  const counts = new Map<string, number>();
  const seen = new Map<string, ScriptedAnswer>();
  const answer = (call: Call): ScriptedAnswer | undefined => {
    const entry = script[call.model];
    if (entry === undefined) return undefined;
    // The same question gets the same answer: a repeated call does not move the script on.
    const question = `${call.model}\n${call.turn}\n${call.lastUserText}`;
    const n = counts.get(call.model) ?? 0;
    const known = seen.get(question);
    if (known) return known;
    counts.set(call.model, n + 1);
    const scripted =
      typeof entry === "function"
        ? entry(call, n)
        : Array.isArray(entry)
          ? entry[Math.min(n, entry.length - 1)]
          : entry;
    const turn = typeof scripted === "string" ? { reply: scripted } : (scripted as ScriptedAnswer);
    seen.set(question, turn);
    return turn;
  };
  const fleet = await workflowSite({ answer }, SHORT_LOCKS);
  const { site, runs, work, spawnWorker } = fleet;

  // biome-ignore lint/suspicious/noExplicitAny: each pattern has an input of its own.
  const start = (pattern: Pattern<any>, input: unknown) => runs.start(pattern, input);

  // biome-ignore lint/suspicious/noExplicitAny: each pattern has an input of its own.
  async function run(pattern: Pattern<any>, input: unknown): Promise<PatternResult> {
    await work(...functions);
    return (await start(pattern, input)).result() as Promise<PatternResult>;
  }

  /** Waits until so many of its calls are in flight at a time; ends them and the run. */
  // biome-ignore lint/suspicious/noExplicitAny: each pattern has an input of its own.
  async function asksAtOnce(pattern: Pattern<any>, input: unknown, expectedCalls: number): Promise<void> {
    await work(...functions);
    const handle = await start(pattern, input);
    await waitFor("the calls", () => site.simulator.stats().inFlight === expectedCalls);
    await handle.cancel();
  }

  /** Calls that the provider was asked for. */
  const calls = (model?: string) =>
    site.simulator.journal.entries().filter((entry) => model === undefined || entry.model === model).length;

  /** What each call to a model asked, in order of arrival. */
  const prompts = (model: string) =>
    site.simulator.journal.entries().flatMap((entry) => (entry.model === model ? [entry.lastUserText] : []));

  /** Kills the worker process in the middle of the run, and lets another one end it: nothing finished is asked again. */
  async function survivesAKill(
    // biome-ignore lint/suspicious/noExplicitAny: each pattern has an input of its own.
    pattern: Pattern<any>,
    input: unknown,
    expectedCalls: number,
    module = "no-workflows.ts",
  ) {
    const first = await spawnWorker(module);
    const handle = await start(pattern, input);
    const half = Math.ceil(expectedCalls / 2);
    await waitFor("half of the calls", () => calls() >= half);
    first.kill("SIGKILL");
    await spawnWorker(module);
    const result = (await handle.result()) as PatternResult;
    // Calls in flight at the kill may be repeated: at most those of one round.
    const finished = new Set(site.simulator.journal.entries().map(({ contentHash }) => contentHash));
    expect(finished.size).toBe(expectedCalls);
    expect(result.agentInteractions).toHaveLength(expectedCalls);
    return result;
  }

  return { ...fleet, start, run, asksAtOnce, calls, prompts, survivesAKill };
}
