import { checkWith } from "../shared/schema-check.ts";
import { type ToolSet, toolSet } from "../shared/tool.ts";
import { OpenMcpServer } from "./mcp-server.ts";
import { mcpServerSchema } from "./server-spec.ts";

/** The protocol of a server: tried out and remembered, or known. */
export type McpProtocol = "auto" | "legacy" | "2026-07-28";

/** Options of an MCP server's tools: either a `command` to start, or a `url`. */
export interface McpToolsOptions {
  /** The name of the set, by which jobs and workers know it: 1 to 64 letters, digits, `-` or `_`. */
  name: string;
  /** The command that starts the server, which then speaks over its standard input and output. */
  command?: string;
  /** The arguments of the command; default none. */
  args?: readonly string[];
  /**
   * Variables of the server's environment, beside PATH, HOME, USER, LOGNAME, SHELL and TERM of this process. It gets nothing else: no
   * provider's key, no address of Redis.
   */
  env?: Readonly<Record<string, string>>;
  /** The folder that the server is started in; default: that of this process. */
  cwd?: string;
  /** The address of a server that speaks over HTTP (Streamable HTTP). */
  url?: string;
  /** Headers of each call to `url`, such as `Authorization`; default none. */
  headers?: Readonly<Record<string, string>>;
  /** The names of the tools that models may call; `*` stands for any run of characters. Default: all. */
  allow?: readonly string[];
  /** What stands before the names of the tools, where two servers have tools of one name; default nothing. */
  prefix?: string;
  /** The longest call, in milliseconds; default 60,000. */
  timeoutMs?: number;
  /** How long the server may take to start and to tell its tools, in milliseconds; default 30,000. */
  startTimeoutMs?: number;
  /** The longest text of a result that the model sees, in bytes; default 65,536. */
  maxOutputBytes?: number;
  /** Default `auto`: the newer protocol where the server speaks it. */
  protocol?: McpProtocol;
  /**
   * Which calls are made again when the worker or the server was lost while they ran: all (`true`), none, or those of the named tools.
   * Default: those of tools that the server itself calls idempotent or read-only. Of others the model is told that the outcome is unknown.
   */
  idempotent?: boolean | readonly string[];
}

/**
 * Returns the tools of an MCP server, as one of the `tools` of a call, a client or an agent, or for a module of workers. The server is
 * started, or called, by the first job that needs it, and serves all jobs of the worker process.
 *
 * ```ts
 * export const files = mcpTools({ name: "files", command: "npx", args: ["-y", "@modelcontextprotocol/server-filesystem", "./docs"] });
 * ```
 * @throws InputError naming the option that is unknown or wrong
 */
export function mcpTools(options: McpToolsOptions): ToolSet {
  const what = `the MCP server "${(options as { name?: unknown } | undefined)?.name}"`;
  const spec = checkWith(mcpServerSchema, options, what);
  return toolSet(spec.name, `The tools of ${what}`, (host) => new OpenMcpServer(spec, host));
}
