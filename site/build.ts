import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { writePages } from "./pages.ts";

/** `npm run docs`: pages, API reference, then the site in site/dist. A warning of TypeDoc or a dead link fails it. */

writePages();
for (const command of [["typedoc"], ["vitepress", "build"]]) {
  const [name = "", ...args] = command;
  const { status } = spawnSync(join(import.meta.dirname, "node_modules/.bin", name), args, {
    cwd: import.meta.dirname,
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
}
