import type { Client, PriorDiscovery, Transport } from "@modelcontextprotocol/client";
import { ConfigurationError, GlueError } from "../shared/errors.ts";
import { orAborted } from "../shared/or-aborted.ts";
import { hideInLogs, hideSecrets } from "../shared/redaction.ts";
import type { ToolSetHost } from "../shared/tool.ts";
import { within } from "../shared/within.ts";
import { boundedFetch } from "./bounded-fetch.ts";
import type { McpServerSpec } from "./server-spec.ts";
import { StdioTransport } from "./stdio-transport.ts";

/** How long an old server may leave the new protocol's first question unanswered. */
const MAX_PROBE_MS = 10_000;
/** A connection that was used within this time, and answered, is not asked whether it works. */
const FRESH_MS = 30_000;
const PING_MS = 3000;
const CLOSE_MS = 2000;
const NOT_FOUND = 404;
const SECRET_NAME = /key|token|secret|password|auth|cookie/i;

/** The SDK is an optional peer: few need it. */
async function loadSdk() {
  try {
    return await Promise.all([
      import("@modelcontextprotocol/client"),
      import("@modelcontextprotocol/client/stdio"),
    ]).then(([client, stdio]) => ({ ...client, ...stdio }));
  } catch {
    throw new ConfigurationError(
      "tools of MCP servers need the package @modelcontextprotocol/client, which is not installed",
      "npm install @modelcontextprotocol/client",
      "missing_package",
    );
  }
}

type Sdk = Awaited<ReturnType<typeof loadSdk>>;

/** Connects to one server, and remembers which protocol it speaks. */
export class Connector {
  readonly #spec: McpServerSpec;
  readonly #host: ToolSetHost;
  #verdict: PriorDiscovery | undefined;

  constructor(spec: McpServerSpec, host: ToolSetHost) {
    this.#spec = spec;
    this.#host = host;
    for (const [name, value] of Object.entries({ ...spec.env, ...spec.headers }))
      if (SECRET_NAME.test(name)) hideInLogs(value);
    if (spec.protocol === "legacy") this.#verdict = { kind: "legacy" };
  }

  /** @throws GlueError `tool_server_unavailable`; ConfigurationError `missing_package` */
  async connect(signal: AbortSignal): Promise<McpConnection> {
    const sdk = await loadSdk();
    const known = this.#verdict;
    try {
      return await this.#connect(sdk, known, signal);
    } catch (error) {
      if (this.#spec.protocol !== "legacy") this.#verdict = undefined;
      // Old servers on other SDKs end at a first message that they do not know.
      const wasAsked =
        this.#spec.protocol === "auto" && known === undefined && this.#spec.command !== undefined;
      if (wasAsked && !signal.aborted && error instanceof EndedAtOnceError)
        return await this.#connect(sdk, { kind: "legacy" }, signal).catch((later) => {
          throw this.#unavailable(later);
        });
      throw this.#unavailable(error);
    }
  }

  async #connect(sdk: Sdk, prior: PriorDiscovery | undefined, signal: AbortSignal): Promise<McpConnection> {
    const { protocol, startTimeoutMs: timeout } = this.#spec;
    const mode = protocol === "2026-07-28" ? { pin: protocol } : protocol;
    const client = new sdk.Client(
      { name: "gluellm", version: this.#host.version },
      {
        versionNegotiation: { mode, probe: { timeoutMs: Math.min(MAX_PROBE_MS, timeout / 2) } },
        // Nobody is here to be asked.
        inputRequired: { autoFulfill: false },
      },
    );
    const transport = this.#transport(sdk);
    const connection = new McpConnection(sdk, client, transport);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
    try {
      await orAborted(limit, client.connect(transport, { timeout, ...(prior && { prior }) }));
    } catch (error) {
      const hasEnded = transport instanceof StdioTransport && transport.hasEnded;
      await connection.close();
      signal.throwIfAborted();
      if (hasEnded) throw new EndedAtOnceError(transport.lastWords, transport.fault);
      throw limit.aborted ? new Error(`it did not begin to talk within ${timeout / 1000} s`) : error;
    }
    const discover = client.getDiscoverResult();
    this.#verdict = discover ? { kind: "modern", discover } : { kind: "legacy" };
    return connection;
  }

  #transport(sdk: Sdk): Transport {
    const { command, args, env, cwd, url, headers } = this.#spec;
    if (url !== undefined)
      return new sdk.StreamableHTTPClientTransport(new URL(url), {
        requestInit: { headers },
        fetch: boundedFetch,
      });
    const whole = { command: command ?? "", args, cwd, env: { ...sdk.getDefaultEnvironment(), ...env } };
    return new StdioTransport(whole, this.#host.dataDir);
  }

  #unavailable(error: unknown): unknown {
    if (error instanceof GlueError) return error;
    const reason = hideSecrets(error instanceof Error ? error.message : String(error)).slice(0, 1000);
    const { name, command, url } = this.#spec;
    const what =
      command === undefined ? `cannot be reached at ${new URL(url ?? "").origin}` : "cannot be started";
    return unavailable(name, `${what}: ${reason}`, error);
  }
}

/** The error of a server whose tools cannot be had. */
export function unavailable(name: string, problem: string, cause: unknown): GlueError {
  return new GlueError(
    {
      code: "tool_server_unavailable",
      category: "connection",
      message: `the MCP server "${name}" ${problem}`,
      hint: "try its command or address by hand; the job is tried again as after any fault",
    },
    { cause },
  );
}

class EndedAtOnceError extends Error {
  constructor(lastWords: string, fault: string | undefined) {
    const why =
      fault ?? (lastWords === "" ? "it wrote nothing on its standard error" : `its last words: ${lastWords}`);
    super(`it ended before it began to talk; ${why}`);
  }
}

/** A server that talks with us. */
export class McpConnection {
  readonly client: Client;
  readonly #sdk: Sdk;
  readonly #transport: Transport;
  #isOpen = true;
  #answeredAt = Date.now();
  #isSuspect = false;

  constructor(sdk: Sdk, client: Client, transport: Transport) {
    this.client = client;
    this.#sdk = sdk;
    this.#transport = transport;
    client.onclose = () => {
      this.#isOpen = false;
    };
    // What goes wrong beside the calls is no call's matter.
    client.onerror = () => {};
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Why the server was ended from here; undefined when it was not. */
  get fault(): string | undefined {
    return this.#transport instanceof StdioTransport ? this.#transport.fault : undefined;
  }

  /** A call got its answer, or none in time: then the server is asked whether it works before the next one. */
  tell(hasAnswered: boolean): void {
    if (hasAnswered) this.#answeredAt = Date.now();
    else this.#isSuspect = true;
  }

  /** Whether calls may still be answered; a call that takes long is no sign against it. */
  async works(): Promise<boolean> {
    if (!this.#isOpen) return false;
    if (!this.#isSuspect && Date.now() - this.#answeredAt < FRESH_MS) return true;
    try {
      await this.client.ping({ timeout: PING_MS });
    } catch (error) {
      // An answer all the same: the newer protocol has no ping.
      if (!(error instanceof this.#sdk.ProtocolError)) return false;
    }
    this.#isSuspect = false;
    this.tell(true);
    return this.#isOpen;
  }

  /**
   * What a failed call says of the connection: it is lost, and the call may have taken effect (`unknown`) or has not (`unsent`);
   * undefined when the server has answered.
   */
  lossBy(error: unknown): "unknown" | "unsent" | undefined {
    const { SdkError, SdkErrorCode, SdkHttpError, ProtocolError } = this.#sdk;
    // The server has forgotten the session, as after a restart.
    if (error instanceof SdkHttpError && error.status === NOT_FOUND) return "unsent";
    if (!this.#isOpen) return "unknown";
    if (error instanceof ProtocolError) return undefined;
    if (error instanceof SdkHttpError) return error.status >= 500 ? "unknown" : undefined;
    if (!(error instanceof SdkError)) return "unknown";
    const lost: string[] = [
      SdkErrorCode.ConnectionClosed,
      SdkErrorCode.NotConnected,
      SdkErrorCode.SendFailed,
    ];
    return lost.includes(error.code) ? "unknown" : undefined;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    const transport = this.#transport as Transport & { terminateSession?(): Promise<void> };
    if (transport.sessionId !== undefined && transport.terminateSession)
      await within(CLOSE_MS, transport.terminateSession());
    await this.client.close().catch(() => {});
    // A connection that was never made is not the client's to close.
    await transport.close().catch(() => {});
  }
}
