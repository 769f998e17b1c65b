import { GlueLLM } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { last, portions } from "./chaos-activities.ts";

/** Starts runs, one after the other, until it is killed: `killed-starter.ts <prefix>`. It writes a line for each that was accepted. */
const [prefix = ""] = process.argv.slice(2);
const { workflows } = new GlueLLM({ mode: "fleet", settings: loadSettings() });
for (let n = 0; ; n++) {
  const id = `${prefix}-${n}`;
  await workflows.start(portions, { id, of: `key ${n % 3}` }, { runId: id });
  console.log(id);
  const { id: debounced } = await workflows.start(last, { of: prefix, n }, { runId: `${prefix}-last-${n}` });
  console.log(`${debounced} ${n}`);
}
