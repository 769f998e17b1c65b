/**
 * Preloaded by a process that is to be killed at a named point: after a SIGUSR2 it kills itself as soon as it comes to the one that
 * KILL_POINT names, a diagnostics channel.
 */
import { subscribe } from "node:diagnostics_channel";

let isArmed = false;
process.on("SIGUSR2", () => {
  isArmed = true;
});
subscribe(process.env.KILL_POINT ?? "", () => {
  if (isArmed) process.kill(process.pid, "SIGKILL");
});
