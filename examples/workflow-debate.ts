/** A debate: participants argue in rounds, and a judge decides. In your project: `from "gluellm"`. */
import { Agent, debate, GlueLLM } from "../src/index.ts";

// Agents may have a `model` each: a debate between different models catches more errors than one of equals.
const optimist = new Agent({
  name: "optimist",
  description: "Argues for the change.",
  systemPrompt: "You argue for the proposal. Be concrete, and keep to 100 words.",
});
const sceptic = new Agent({
  name: "sceptic",
  description: "Argues against the change.",
  systemPrompt: "You argue against the proposal. Be concrete, and keep to 100 words.",
});
const judge = new Agent({
  name: "judge",
  description: "Decides.",
  systemPrompt: "You judge debates by their arguments alone.",
});

await using glue = new GlueLLM();

const run = await glue.workflows.start(debate, {
  input: "Should a team of four move its service to a second cloud provider?",
  participants: [optimist, sceptic],
  judge,
  maxRounds: 2,
});
const { finalOutput, iterations, agentInteractions, metadata } = await run.result();

for (const { stage, output } of agentInteractions) console.log(`${stage}: ${firstLine(output)}`);
const { winner } = metadata.verdict as { winner: string | null };
console.log(`after ${iterations} rounds: ${firstLine(finalOutput)} (strongest case: ${winner})`);

const { tokensUsed, costUsd, unpriced } = await run.status();
const cost = unpriced === 0 ? `cost $${costUsd}` : "cost unknown";
console.log(`${agentInteractions.length} calls, ${tokensUsed.total} tokens, ${cost}`);

function firstLine(text: string): string {
  return text.split("\n", 1)[0]?.slice(0, 80) ?? "";
}
