import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import type { Variables } from "../shared/env-file.ts";
import { ConfigurationError, GlueError } from "../shared/errors.ts";
import { parseJson } from "../shared/json.ts";
import type { ToolSet } from "../shared/tool.ts";
import { type McpToolsOptions, mcpTools } from "./mcp-tools.ts";

const fileSchema = z.looseObject({ mcpServers: z.record(z.string(), z.looseObject({})) });

/** Words of the usual file that say how a server is spoken to; what is given of `command` and `url` says it too. */
const TYPES: readonly unknown[] = [undefined, "stdio", "http", "streamable-http"];

/**
 * Reads the usual file of MCP servers, `{ "mcpServers": { "files": { "command": …, "args": […], "env": {…} } } }`; each server may have all
 * options of `mcpTools` beside its usual words. `${NAME}` and `${NAME:-default}` in texts stand for variables, and a `cwd` that is
 * relative begins at the file's folder. Servers that are `disabled` are left out.
 * @throws ConfigurationError `mcp_file` naming the server and what is wrong with it
 */
export function readMcpFile(path: string, variables: Variables, cwd = process.cwd()): ToolSet[] {
  const file = resolve(cwd, path);
  const fault = (problem: string, hint?: string) =>
    new ConfigurationError(`the file of MCP servers ${path} ${problem}`, hint, "mcp_file");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw fault(`cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  const parsed = fileSchema.safeParse(parseJson(text));
  if (!parsed.success)
    throw fault("has no object mcpServers", '{ "mcpServers": { "name": { "command": "…" } } }');
  return Object.entries(parsed.data.mcpServers).flatMap(([name, { disabled, type, ...given }]) => {
    if (disabled === true) return [];
    if (!TYPES.includes(type))
      throw fault(
        `names a server of the type ${JSON.stringify(type)}: "${name}"`,
        'the types are "stdio" and "http"',
      );
    try {
      const options = filledIn(given, variables) as Omit<McpToolsOptions, "name">;
      const folder = options.command === undefined ? {} : { cwd: resolve(dirname(file), options.cwd ?? ".") };
      return [mcpTools({ ...options, ...folder, name })];
    } catch (error) {
      throw error instanceof GlueError ? fault(`is wrong: ${error.message}`, error.hint) : error;
    }
  });
}

/** Returns a value with the variables in its texts filled in. */
function filledIn(value: unknown, variables: Variables): unknown {
  if (typeof value === "string")
    return value.replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (_, name, rest) => named(name, rest));
  if (Array.isArray(value)) return value.map((item) => filledIn(item, variables));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filledIn(item, variables)]));

  function named(name: string, otherwise: string | undefined): string {
    const found = variables[name] || otherwise;
    if (found !== undefined) return found;
    throw new ConfigurationError(
      `the variable ${name} is not set`,
      `set ${name}, or write \${${name}:-default}`,
    );
  }
}
