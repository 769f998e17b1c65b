import { connect } from "node:net";
import { createInterface } from "node:readline";
import { inject, onTestFinished } from "vitest";
import { waitFor } from "./wait-for.ts";

/** A command that the suite's Redis was asked for. */
export interface SeenCommand {
  /** Its words as Redis quotes them. */
  text: string;
  isOfScript: boolean;
}

/**
 * Returns a list that grows by each command of the suite's Redis, until the test ends. Not the client's own monitor: that fails when the
 * first commands come with the answer to MONITOR, as they do where Redis is busy.
 */
export async function monitorRedis(): Promise<SeenCommand[]> {
  const seen: SeenCommand[] = [];
  let isOn = false;
  const socket = connect(inject("redisSocket"));
  onTestFinished(() => void socket.destroy());
  createInterface({ input: socket }).on("line", (line) => {
    if (line === "+OK") isOn = true;
    const [, source, text] = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
    if (text !== undefined) seen.push({ text, isOfScript: source === "lua" });
  });
  socket.write("MONITOR\r\n");
  await waitFor("the monitor", () => isOn);
  return seen;
}
