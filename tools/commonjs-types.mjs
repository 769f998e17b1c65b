// Writes a `.d.cts` beside each `.d.ts` of the build. TypeScript takes a package's types for those of an ES module unless
// CommonJS modules have their own; at run time both load the same files, since Node.js can require ES modules.
import { globSync, readFileSync, writeFileSync } from "node:fs";

for (const path of globSync("dist/**/*.d.ts")) {
  const types = readFileSync(path, "utf8");
  const commonJs = types.replaceAll(/((?:from|import\(|import)\s*"\.[^"]*)\.[jt]s"/g, '$1.cjs"');
  writeFileSync(path.replace(/\.d\.ts$/, ".d.cts"), commonJs);
}
