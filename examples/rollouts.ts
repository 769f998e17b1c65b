/** Data for GRPO and DPO: each sum is answered four times, and an exact answer is rewarded. In your project: `from "gluellm"`. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GlueLLM } from "../src/index.ts";
import { brevity, exactAnswer } from "./parts/exact-answer.ts";

const folder = await mkdtemp(join(tmpdir(), "rollout-"));
await using glue = new GlueLLM();

// The same call again goes on with what the folder has: a finished sample is never paid for twice.
const report = await glue.rollout({
  prompts: join(import.meta.dirname, "parts/sums.jsonl"),
  samples: 4,
  system: "Work it out step by step. End with #### and the number.",
  temperature: 1,
  rewards: [exactAnswer, brevity],
  exports: ["trl", "dpo"],
  output: folder,
});
const { groups, samples, informative, rewards, files } = report;
console.log(`${groups} groups of ${samples / groups}, ${informative} of them with better and worse samples`);
console.log(`right: ${(100 * (rewards.exact_answer?.mean ?? 0)).toFixed(0)} %`);

const rowsOf = async (path = "") =>
  (await readFile(path, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
// The mean of a group's advantages is 0: GRPO compares its samples with each other.
const sum = (await rowsOf(files.trl)).slice(0, 4).reduce((total, { advantage }) => total + advantage, 0);
console.log(`a group's advantages add up to 0: ${Math.abs(sum) < 1e-9}`);
console.log(`pairs for DPO: ${(await rowsOf(files.dpo)).length}`);

// Another reward costs nothing: the samples are there.
const again = await glue.rescore({ output: folder, rewards: [exactAnswer], scale: "none" });
console.log(`scored again: ${Object.keys(again.rewards).join(", ")}`);
await rm(folder, { recursive: true });
