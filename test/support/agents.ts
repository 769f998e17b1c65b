import { Agent } from "../../src/index.ts";
import { add } from "./tools.ts";

export const adder = new Agent({ name: "adder", description: "Adds.", systemPrompt: "Add.", tools: [add] });
