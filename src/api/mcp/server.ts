import type { McpServer } from "@modelcontextprotocol/server";
import { ConfigurationError } from "../../shared/errors.ts";
import { allows, type Scope } from "../../shared/scopes.ts";
import { type RestAddress, RestCaller, RestError } from "./rest-caller.ts";
import { SERVED_TOOLS, type ServedTool } from "./tools.ts";

/** The SDK is an optional peer: few need it. @throws ConfigurationError `missing_package` */
export async function loadServerSdk() {
  try {
    return await import("@modelcontextprotocol/server");
  } catch {
    throw new ConfigurationError(
      "the MCP server needs the package @modelcontextprotocol/server, which is not installed",
      "npm install @modelcontextprotocol/server",
      "missing_package",
    );
  }
}

/** For whom an MCP server is made. */
export interface McpCaller extends RestAddress {
  scopes: readonly Scope[];
}

/** Returns an MCP server with the tools that the caller's key allows. */
export async function mcpServerFor(caller: McpCaller, version: string): Promise<McpServer> {
  const { McpServer: Server } = await loadServerSdk();
  const server = new Server(
    { name: "gluellm", version, title: "GlueLLM" },
    {
      instructions:
        "Durable jobs, batches and workflows of language models: what is finished is never paid twice.",
    },
  );
  const isAllowed = ({ scopes }: ServedTool) => scopes.some((scope) => allows(caller.scopes, scope));
  for (const tool of SERVED_TOOLS.filter(isAllowed)) {
    const { name, description, args, isReadOnly, isIdempotent = isReadOnly } = tool;
    server.registerTool(
      name,
      {
        description,
        inputSchema: args,
        annotations: { readOnlyHint: isReadOnly, idempotentHint: isIdempotent, openWorldHint: true },
      },
      (given, { mcpReq }) => answer(tool, new RestCaller(caller, mcpReq.signal), given),
    );
  }
  return server;
}

async function answer(tool: ServedTool, rest: RestCaller, args: unknown) {
  try {
    const told = await tool.run(rest, args);
    return { content: [{ type: "text" as const, text: JSON.stringify(told) }] };
  } catch (error) {
    // Others are faults of ours, or of the network: their words are not for everyone.
    const text = error instanceof RestError ? error.message : "the API cannot be reached";
    return { content: [{ type: "text" as const, text }], isError: true };
  }
}
