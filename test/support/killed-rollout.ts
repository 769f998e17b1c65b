import { subscribe } from "node:diagnostics_channel";
import { GlueLLM } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { even, short } from "./rollout-rewards.ts";

/** A rollout that is killed at the nth place where it comes to a boundary; 0: never. `killed-rollout.ts <n> <mode> <folder>`, rows as JSON. */
const [, , nth = "0", mode = "fleet", output = "", rows = "[]"] = process.argv;
let seen = 0;
subscribe("gluellm:rollout", () => {
  seen += 1;
  if (seen === Number(nth)) process.kill(process.pid, "SIGKILL");
});
await using glue = new GlueLLM({ mode: mode as "fleet" | "local", settings: loadSettings() });
const report = await glue.rollout({
  prompts: JSON.parse(rows),
  samples: 3,
  rewards: [even, short],
  output,
  groupsInFlight: 2,
  groupsPerStep: 2,
  exports: ["trl", "dpo", "verifiers"],
});
console.log(JSON.stringify({ seen, samples: report.samples }));
