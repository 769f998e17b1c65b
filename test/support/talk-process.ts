/** A process of its own that calls a conversation many times at once and prints the answers: `id name calls`. */
import { GlueLLM } from "../../src/index.ts";

const [id = "", name = "", calls = ""] = process.argv.slice(2);
await using glue = new GlueLLM({ mode: "fleet", model: "simulator:test" });
const conversation = glue.conversation({ id });
const answers = Array.from({ length: Number(calls) }, async (_, n) => {
  const directive = JSON.stringify({ reply: `answer ${name}${n}` });
  return (await conversation.complete(`racing ${name}${n}\n#sim ${directive}`)).finalResponse;
});
console.log(JSON.stringify(await Promise.all(answers)));
