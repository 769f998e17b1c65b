import { expect, test } from "vitest";
import { outputOf } from "../support/processes.ts";

/** Says which of the packages that are only for those who call providers are loaded. */
const IMPORTED = `
import { registerHooks } from "node:module";
const loaded = new Set();
registerHooks({
  resolve(name, context, next) {
    const found = next(name, context);
    const [, of] = /node_modules\\/(undici|openai|@anthropic-ai\\/sdk|@modelcontextprotocol\\/\\w+|express)\\//.exec(found.url) ?? [];
    if (of) loaded.add(of);
    return found;
  },
});
await import(${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)});
console.log([...loaded].join());
`;

test("who imports the package loads neither the providers' SDKs nor what sends their requests", async () => {
  const cwd = new URL("../..", import.meta.url).pathname;
  expect(await outputOf(process.execPath, ["--input-type=module", "-e", IMPORTED], { cwd })).toBe("\n");
});
