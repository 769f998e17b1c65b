/**
 * Traces of what calls, tools and jobs do, sent by OTLP over HTTP to a collector or to MLflow. In your project: `from "gluellm"`, and
 * `npm install @opentelemetry/sdk-trace@3 @opentelemetry/exporter-trace-otlp-http@0.301 @opentelemetry/context-async-hooks@3 @opentelemetry/resources@3`.
 */
import { z } from "zod";
import { configureTracing, defineTool, GlueLLM, setSpanAttributes, traceLlmCall } from "../src/index.ts";

// OTEL_EXPORTER_OTLP_ENDPOINT, MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where they go; workers take ENABLE_TRACING=true.
await using _tracing = await configureTracing({ serviceName: "tracing-example" });

const weather = defineTool({
  name: "weather",
  description: "The weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => {
    if (city === "Atlantis") throw new Error("there is no such city");
    // Onto the tool's own span.
    setSpanAttributes({ "weather.city": city });
    return { city, celsius: 21 };
  },
});

{
  await using glue = new GlueLLM({ tools: [weather] });

  const { finalResponse } = await glue.complete("Say hello.", { tools: [] });
  console.log(`simple: ${finalResponse.length > 0}`);

  // The simulator has no mind of its own: its `#sim` line says what it calls. A real model decides by itself.
  const calls = ["Paris", "Atlantis"].map((city) => ({ name: "weather", arguments: { city } }));
  const script = JSON.stringify({ turns: [{ toolCalls: calls }, { reply: "21 degrees in Paris." }] });
  const { toolCallsMade } = await glue.complete(`What is the weather?\n#sim ${script}`);
  console.log(`tools: ${toolCallsMade}`);

  const schema = z.object({ name: z.string(), age: z.number() });
  const person = await glue.structuredComplete("Make up a person.", { schema, tools: [] });
  console.log(`structured: ${typeof person.name}, ${typeof person.age}`);

  const talk = glue.conversation();
  await talk.complete("My name is Ada.", { tools: [] });
  await talk.complete("What is my name?", { tools: [] });
  console.log(`multi-turn: ${(await talk.messages()).length} messages`);

  try {
    await glue.complete('Fail.\n#sim {"unknown": true}', { tools: [] });
  } catch (error) {
    console.log(`error: ${(error as Error).name}`);
  }

  // A call by your own code has a span like those of workers; jobs that are enqueued inside stand under it.
  const answer = await traceLlmCall(
    { model: "openai:gpt-4o-mini", messages: [{ role: "user" }] },
    async () => {
      setSpanAttributes({ "app.feature": "greeting" });
      return (await glue.complete("Say goodbye.", { tools: [] })).model;
    },
  );
  console.log(`own call: ${answer}`);
}
