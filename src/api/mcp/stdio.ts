import { readVersion } from "../../host/read-version.ts";
import { SCOPES, type Scope } from "../../shared/scopes.ts";
import { RestCaller, RestError } from "./rest-caller.ts";
import { mcpServerFor } from "./server.ts";

/**
 * Speaks MCP over this process's standard input and output, in both eras of the protocol, until the input ends.
 * @param url of an API, without a path
 * @param key of that API
 * @throws RestError when the API does not take the key; ConfigurationError `missing_package`
 */
export async function serveMcp(url: string, key: string): Promise<void> {
  const authorization = `Bearer ${key}`;
  const rest = new RestCaller({ url, authorization }, AbortSignal.timeout(30_000));
  const { scopes } = await rest.call({ method: "GET", path: "/api/usage" });
  if (!Array.isArray(scopes)) throw new RestError("the API does not say what the key allows");
  const known = scopes.filter((scope): scope is Scope => SCOPES.some((one) => one === scope));
  const { serveStdio } = await import("@modelcontextprotocol/server/stdio");
  serveStdio(() => mcpServerFor({ url, authorization, scopes: known }, readVersion()));
}
