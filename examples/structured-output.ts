/** Answers of a type: the worker checks them against the schema, repairs included. In your project: `from "gluellm"`. */
import { z } from "zod";
import { GlueLLM, StructuredOutputError } from "../src/index.ts";

await using glue = new GlueLLM({ system: "You are a cook." });

const recipeSchema = z.object({
  title: z.string().describe("the dish, in a few words"),
  minutes: z.int().min(1).max(600),
  ingredients: z.array(z.object({ name: z.string(), grams: z.number().positive() })).min(1),
  diet: z.enum(["vegan", "vegetarian", "other"]),
  wine: z.string().nullable(),
});

// The type of the answer is the schema's.
const recipe = await glue.structuredComplete("A soup for two.", { schema: recipeSchema });
console.log(`a text: ${typeof recipe.title}, minutes: ${recipe.minutes >= 1 && recipe.minutes <= 600}`);
console.log(`ingredients: ${recipe.ingredients.every(({ grams }) => grams > 0)}, diet: ${recipe.diet}`);

// `complete` tells the rest too. A list, a text or a number need no object around them.
const shopping = await glue.complete("What do I buy for it?", { schema: z.array(z.string()) });
console.log(`a list: ${Array.isArray(shopping.output)}, model: ${shopping.model}`);

// A JSON Schema does as well, such as one from a file; its answer's type is unknown to TypeScript.
const schema = { type: "object", properties: { calories: { type: "integer" } }, required: ["calories"] };
console.log(
  `by JSON Schema: ${Object.keys((await glue.complete("And the calories?", { schema })).output as object)}`,
);

// Providers without native support of schemas are asked by a tool call, or by the prompt.
const options = { schema: z.object({ name: z.string() }), outputMode: "tool", maxRepairs: 1 } as const;
const { name } = await glue.structuredComplete("Name a spice.", options);
console.log(`by a tool call: ${typeof name}`);

// What JSON Schema cannot say, the caller's own schema has the last word on.
const unlikely = z.object({ name: z.string().refine((text) => text.endsWith("?!"), "must end with ?!") });
try {
  await glue.structuredComplete("Name a herb.", { schema: unlikely });
} catch (error) {
  if (!(error instanceof StructuredOutputError)) throw error;
  console.log(`refused: ${error.rejected?.problem}`);
}
