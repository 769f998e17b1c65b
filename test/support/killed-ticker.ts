/**
 * A worker process of everything that is killed when a tick of its reaches a point for the nth time: `killed-ticker.ts <module> <point>
 * <n>`.
 */
import { subscribe } from "node:diagnostics_channel";

const [, , module = "", point = "", count = "1"] = process.argv;
let left = Number(count);
subscribe("gluellm:tick", (reached) => {
  if (reached !== point) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
});
process.argv.splice(2, 3, module);
await import("./workflow-worker.ts");
