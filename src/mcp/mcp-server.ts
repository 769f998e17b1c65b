import type { Tool as McpTool } from "@modelcontextprotocol/client";
import { schemaFault } from "../shared/compile-schema.ts";
import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { matchesGlob } from "../shared/glob.ts";
import type { JsonSchema } from "../shared/json-schema.ts";
import { ResourcePool } from "../shared/resource-pool.ts";
import {
  defineTool,
  type ListedTool,
  type OpenToolSet,
  type Tool,
  type ToolSetHost,
} from "../shared/tool.ts";
import { toolError } from "../shared/tool-result.ts";
import { Connector, type McpConnection, unavailable } from "./connection.ts";
import type { McpServerSpec } from "./server-spec.ts";
import { toToolResult } from "./tool-content.ts";

const MAX_DESCRIPTION_CHARS = 10_000;
/** All that a job's tools of one server say of themselves, as JSON. */
const MAX_LIST_BYTES = 1024 * 1024;
/** A call that is given up here is over for the server a little later, so that this end is the one that is told. */
const LATER_MS = 5000;
const KNOWN_LISTS = 8;

/** An MCP server as one worker process has it: one connection for all jobs, made when it is needed, and made again when it is lost. */
export class OpenMcpServer implements OpenToolSet {
  readonly #spec: McpServerSpec;
  readonly #host: ToolSetHost;
  readonly #pool: ResourcePool<McpConnection>;
  /** By the digest of the list. */
  readonly #tools = new Map<string, Tool[]>();

  constructor(spec: McpServerSpec, host: ToolSetHost) {
    this.#spec = spec;
    this.#host = host;
    const connector = new Connector(spec, host);
    this.#pool = new ResourcePool({
      name: `mcp ${spec.name}`,
      create: (signal) => connector.connect(signal),
      destroy: (connection) => connection.close(),
      check: (connection) => connection.works(),
      // The connection knows when it was lost.
      checkAfterMs: 0,
      maxUsers: Number.POSITIVE_INFINITY,
      backoffMs: 250,
    });
  }

  async list(signal: AbortSignal): Promise<ListedTool[]> {
    const { name, allow } = this.#spec;
    const isAllowed = (tool: McpTool) => !allow || allow.some((pattern) => matchesGlob(pattern, tool.name));
    const allowed = (await this.#listTools(signal)).filter(isAllowed);
    if (allow && allowed.length === 0)
      throw new InputError(`the MCP server "${name}" has none of the tools ${allow.join(", ")}`);
    const listed = allowed.flatMap((tool) => this.#toListed(tool));
    const bytes = Buffer.byteLength(JSON.stringify(listed));
    if (bytes <= MAX_LIST_BYTES) return listed;
    throw new InputError(
      `the tools of the MCP server "${name}" say ${bytes} bytes of themselves, more than ${MAX_LIST_BYTES}`,
      "choose among them with the option allow",
      "too_many_tools",
    );
  }

  toTools(listed: readonly ListedTool[]): Tool[] {
    const digest = sha256(JSON.stringify(listed));
    const known = this.#tools.get(digest);
    if (known) return known;
    const { timeoutMs, maxOutputBytes } = this.#spec;
    const tools = listed.map(({ ownName, ...tool }) =>
      defineTool({
        ...{ ...tool, timeoutMs, maxOutputBytes },
        execute: (args, { signal }) => this.#call(ownName, tool.idempotent, args, signal),
      }),
    );
    this.#tools.set(digest, tools);
    const [oldest] = this.#tools.keys();
    if (this.#tools.size > KNOWN_LISTS && oldest) this.#tools.delete(oldest);
    return tools;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  /** Whatever goes wrong is told to the model: a tool fails no job. */
  async #call(
    name: string,
    isIdempotent: boolean,
    args: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<unknown> {
    const timeout = this.#spec.timeoutMs + LATER_MS;
    const call = () =>
      this.#use(signal, ({ client }) => client.callTool({ name, arguments: args }, { signal, timeout }));
    let outcome = await call();
    if ("lost" in outcome && (isIdempotent || outcome.loss === "unsent")) outcome = await call();
    if ("answer" in outcome) return toToolResult(outcome.answer);
    if ("error" in outcome) return toolError(outcome.error.message);
    const why = outcome.lost.fault === undefined ? "" : ` (${outcome.lost.fault})`;
    const text = `the server "${this.#spec.name}" was lost during the call${why}`;
    return isIdempotent
      ? toolError(`${text}, twice`)
      : toolError(`${text}; whether it took effect is unknown, and it was not repeated`, "outcome_unknown");
  }

  /** @throws GlueError `tool_server_unavailable`; the signal's reason */
  async #listTools(signal: AbortSignal) {
    const { name, startTimeoutMs: timeout } = this.#spec;
    const list = () => this.#use(signal, ({ client }) => client.listTools(undefined, { timeout, signal }));
    let outcome = await list();
    if ("lost" in outcome) outcome = await list();
    if ("answer" in outcome) return outcome.answer.tools;
    const reason = "error" in outcome ? outcome.error.message : (outcome.lost.fault ?? "it was lost, twice");
    throw unavailable(name, `does not tell its tools: ${reason}`, undefined);
  }

  /**
   * Asks the server something: its answer, its error, or the connection that was lost meanwhile.
   * @throws GlueError `tool_server_unavailable`, when it was not asked; the signal's reason
   */
  async #use<T>(
    signal: AbortSignal,
    question: (connection: McpConnection) => Promise<T>,
  ): Promise<{ answer: T } | { error: Error } | { lost: McpConnection; loss: "unknown" | "unsent" }> {
    await using lease = await this.#pool.acquire(signal);
    const { resource: connection } = lease;
    try {
      const answer = await question(connection);
      connection.tell(true);
      return { answer };
    } catch (error) {
      const loss = connection.lossBy(error);
      connection.tell(!signal.aborted && !loss);
      signal.throwIfAborted();
      if (!loss) return { error: error as Error };
      lease.discard();
      return { lost: connection, loss };
    }
  }

  /** Nothing for a tool that no model could call. */
  #toListed({ name: ownName, title, description, inputSchema, annotations }: McpTool): ListedTool[] {
    const { idempotent, prefix } = this.#spec;
    // Older servers name their draft, whose words are those of the newer one here.
    const { $schema: _, ...parameters } = inputSchema as JsonSchema;
    const fault = parameters.type === "object" ? schemaFault(parameters) : "it is no object";
    if (fault !== undefined) {
      this.#host.logger.warn(
        { set: this.#spec.name, tool: ownName, fault },
        "a tool with wrong parameters is left out",
      );
      return [];
    }
    const isHinted = annotations?.idempotentHint === true || annotations?.readOnlyHint === true;
    return [
      {
        ownName,
        name: `${prefix}${ownName}`.replace(/[^A-Za-z0-9_-]+/g, "_").slice(0, 64),
        description: (description || title || ownName).slice(0, MAX_DESCRIPTION_CHARS),
        parameters,
        idempotent: Array.isArray(idempotent) ? idempotent.includes(ownName) : (idempotent ?? isHinted),
      },
    ];
  }
}
