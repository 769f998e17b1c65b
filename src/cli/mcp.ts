import { once } from "node:events";
import type { Command } from "commander";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import { loadSettings } from "../shared/settings.ts";
import { serveMcp } from "./compose.ts";
import { collect } from "./options.ts";
import { serve } from "./serve.ts";

/** `gluellm mcp`. */
export function addMcpCommand(program: Command): void {
  program
    .command("mcp")
    .description(
      "An MCP server over standard input and output: jobs, batches and runs as tools of Claude, Cursor and others.",
    )
    .option(
      "--url <url>",
      "an API that runs elsewhere, with the key in GLUELLM_API_KEY (default: one of its own)",
    )
    .option(
      "--module <file>",
      "a module that exports tools, agents, workflows or activities (repeatable)",
      collect,
    )
    .option("--mcp <file>", "a file of MCP servers whose tools jobs may call (repeatable)", collect)
    .action(({ url, ...options }: { url?: string; module?: string[]; mcp?: string[] }) =>
      url === undefined ? serveOwn(options) : serveFor(url),
    );
}

/** The API is of this process, on a port that nobody is told. */
async function serveOwn(options: { module?: string[]; mcp?: string[] }): Promise<void> {
  await serve({
    ...options,
    ...{ dashboard: false, api: true, apiHost: "127.0.0.1", apiPort: 0, exitWithParent: true },
    onApi: async (url, key) => {
      if (key !== undefined) return serveMcp(url, key);
      throw new ConfigurationError(
        "the key of the data folder was revoked",
        "remove its file, and the next start makes a new one: see `gluellm doctor`",
        "local_key",
      );
    },
  });
}

async function serveFor(url: string): Promise<void> {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw new InputError(`--url ${url} is no address`, "write http://127.0.0.1:4000");
  const { apiKey } = loadSettings();
  if (!apiKey)
    throw new ConfigurationError(
      "there is no key for the API",
      "set GLUELLM_API_KEY, or OPENAI_API_KEY to a key that begins with gk_",
      "missing_key",
    );
  await serveMcp(new URL(url).origin, apiKey.reveal());
  await once(process.stdin, "end");
}
