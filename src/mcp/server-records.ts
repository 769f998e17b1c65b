import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { parseJson } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import { identityOf, isAlive, isSurely } from "../shared/process-identity.ts";

/*
 * `DATA_DIR/mcp/<host>.<pid>.json` for each server that a process of this machine has started: who started it, and which process it
 * is. Written right after its start, removed at its end; what is left is of workers that were killed.
 */

/** Every process of a server has it in its environment: what is left of its group is known by it. */
export const MARK = "MCP_SERVER_MARK";

const identitySchema = z.object({ pid: z.int().min(2), startedAt: z.string() });
const recordSchema = z.object({ server: identitySchema, owner: identitySchema, mark: z.string() });

/** Notes a server that was started; returns what forgets it. */
export function noteServer(dataDir: string, pid: number, mark: string): () => void {
  const folder = join(dataDir, "mcp");
  const path = join(folder, `${hostname()}.${pid}.json`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(path, JSON.stringify({ server: identityOf(pid), owner: identityOf(process.pid), mark }), {
    mode: 0o600,
  });
  return () => rmSync(path, { force: true });
}

/** Ends the servers, and what they started, of processes of this machine that are gone. */
export function endOrphanServers(dataDir: string, logger: Logger): void {
  const folder = join(dataDir, "mcp");
  for (const name of namesIn(folder)) {
    if (!name.startsWith(`${hostname()}.`)) continue;
    const path = join(folder, name);
    const record = recordSchema.safeParse(parseJson(read(path))).data;
    if (record && isAlive(record.owner)) continue;
    if (record && endGroup(record))
      logger.warn({ pid: record.server.pid }, "ended an MCP server whose worker was killed");
    rmSync(path, { force: true });
  }
}

function endGroup({ server, mark }: z.infer<typeof recordSchema>): boolean {
  if (isSurely(server)) return kill(-server.pid);
  // The server has ended, and left some behind. No other process has that group's number, unless it was free meanwhile.
  const left = membersOf(server.pid).filter((pid) => hasMark(pid, mark));
  return left.map(kill).includes(true);
}

/** The processes of a group, where `/proc` tells them. */
function membersOf(group: number): number[] {
  const pids = namesIn("/proc").filter((name) => /^\d+$/.test(name));
  const isMember = (pid: string) => {
    const stat = read(`/proc/${pid}/stat`);
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]) === group;
  };
  return pids.filter(isMember).map(Number);
}

function hasMark(pid: number, mark: string): boolean {
  return read(`/proc/${pid}/environ`).split("\0").includes(`${MARK}=${mark}`);
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Empty when it cannot be read, or is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
