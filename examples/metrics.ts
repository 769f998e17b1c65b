/**
 * What a program counts of its own work. `GLUELLM_ENABLE_METRICS=true node examples/metrics.ts`; with `ENABLE_METRICS_SERVER=true` the same is
 * at http://127.0.0.1:8000/metrics. In your project: `from "gluellm"`.
 */
import { Agent, AgentExecutor, GlueLLM, getMetrics } from "../src/index.ts";

await using glue = new GlueLLM();
const guide = new Agent({ name: "guide", description: "tells of towns", systemPrompt: "One sentence." });
const executor = new AgentExecutor(glue, guide);
await Promise.all(["Paris", "Rome", "Oslo"].map((town) => executor.execute(`Tell me of ${town}`)));

const metrics = await getMetrics();
const sumOf = (name: string) =>
  metrics.find((metric) => metric.name === name)?.values.reduce((sum, { value }) => sum + value, 0);
console.log(`calls of providers: ${sumOf("gluellm_provider_requests_total")}`);
console.log(`jobs of agents: ${sumOf("gluellm_agent_executions_total")}`);
console.log(`tokens were counted: ${Number(sumOf("gluellm_tokens_total")) > 0}`);
