import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestSite } from "./site.ts";
import { processesOf } from "./survivors.ts";
import { waitFor } from "./wait-for.ts";

const RAW_SERVER = join(import.meta.dirname, "raw-mcp-server.ts");
const PACKAGES = join(import.meta.dirname, "../../node_modules/@modelcontextprotocol");
export const FILE_SERVER = join(PACKAGES, "server-filesystem/dist/index.js");

/** The options of a server that behaves in one way; its starts and calls are lines of `NAME.trace` of the site. */
export function rawServer(site: TestSite, mode: string, name = mode) {
  return {
    ...{ command: process.execPath, args: [RAW_SERVER, mode, site.path(`${name}.trace`)] },
    // By the folder in their environment its processes are found.
    env: { SITE_FOLDER: site.folder },
  };
}

export function traceOf(site: TestSite, name: string): string[] {
  const path = site.path(`${name}.trace`);
  return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
}

/** Writes the usual file of MCP servers. */
export function writeMcpFile(site: TestSite, mcpServers: Record<string, object>): string {
  const path = site.path("mcp.json");
  writeFileSync(path, JSON.stringify({ mcpServers }));
  return path;
}

/** A prompt for which the simulator calls these tools, one after the other, and then says "done". */
export function calling(about: string, ...calls: [name: string, args?: object][]): string {
  const turns = calls.map(([name, args = {}]) => ({ toolCalls: [{ name, arguments: args }] }));
  return `${about}\n#sim ${JSON.stringify({ turns: [...turns, { reply: "done" }] })}`;
}

/** Waits until no server of the site runs. */
export async function noServers(site: TestSite): Promise<void> {
  await waitFor("the end of all servers", () => serversOf(site).length === 0);
}

/** The processes of servers, and what these have started. */
export function serversOf(site: TestSite): number[] {
  const isServer = (pid: number) => {
    const command = commandOf(pid);
    return (
      command.includes("raw-mcp-server") ||
      command.includes("grandchild") ||
      command.includes("server-filesystem")
    );
  };
  return processesOf(site.folder).filter(isServer);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}
