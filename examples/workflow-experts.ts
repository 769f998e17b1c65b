/** A mixture of experts: questions go to those whose field is nearest in meaning. In your project: `from "gluellm"`. */
import { Agent, GlueLLM, mixtureOfExperts } from "../src/index.ts";

/** `node examples/workflow-experts.ts openai:text-embedding-3-small`; the simulator's go by the words in common. */
const [embeddingModel = "simulator:embeddings"] = process.argv.slice(2);

const FIELDS = {
  law: "contracts, rent, neighbours, notice, disputes in court",
  medicine: "illness, pain, injuries, treatment with drugs",
  tax: "income, taxes, deductions, rent as income",
  cooking: "recipes, baking, bread, ingredients",
};
const experts = Object.entries(FIELDS).map(([specialty, description]) => ({
  agent: new Agent({ name: specialty, description, systemPrompt: `You are an expert on ${specialty}.` }),
  specialty,
  description,
}));

await using glue = new GlueLLM();

for (const input of [
  "Is the rent of a room income that taxes are due on, with deductions?",
  "Which treatment with drugs helps against the pain of old injuries?",
]) {
  const run = await glue.workflows.start(mixtureOfExperts, {
    input,
    experts,
    routingStrategy: "semantic",
    embeddingModel,
    topK: 2,
    coordinator: {
      name: "editor",
      systemPrompt: "Make one answer of the experts' answers; say where they differ.",
    },
  });
  const { finalOutput, metadata } = await run.result();
  const { asked, scores } = metadata as { asked: string[]; scores: Record<string, number> };
  console.log(input);
  for (const specialty of asked) console.log(`  ${specialty}, similarity ${scores[specialty]?.toFixed(2)}`);
  console.log(`  ${(await run.steps()).map(({ step }) => step).join(", ")}: ${finalOutput}`);
}
