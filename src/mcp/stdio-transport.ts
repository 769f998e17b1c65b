import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/client";
import { isObject, parseJson } from "../shared/json.ts";
import { type ServerCommand, ServerProcess } from "./server-process.ts";
import { answerFault, errorAnswer } from "./wrong-answer.ts";

/** The longest line of a server. */
const MAX_LINE_BYTES = 10 * 1024 * 1024;
/** What a server may write, on both of its outputs, between two answers that it was asked for. */
const MAX_UNASKED_BYTES = 16 * 1024 * 1024;
/** What waits for a server that does not read. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;
const MAX_TAIL_CHARS = 500;

/**
 * MCP over the standard input and output of a server that is started here. The SDK's own transport ends the server alone, not what
 * that has started, and lets a server write for ever.
 */
export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport["onmessage"];
  readonly #command: ServerCommand;
  readonly #dataDir: string;
  readonly #asked = new Set<unknown>();
  #server: ServerProcess | undefined;
  #line: Buffer[] = [];
  #lineBytes = 0;
  #unaskedBytes = 0;
  #tail = "";
  #fault: string | undefined;
  #isClosed = false;

  constructor(command: ServerCommand, dataDir: string) {
    this.#command = command;
    this.#dataDir = dataDir;
  }

  /** By these two the SDK knows that silence may mean an old server, not an outage. */
  get pid(): number | undefined {
    return this.#server?.child.pid;
  }
  get stderr(): null {
    return null;
  }

  /** Why the server was ended from here; undefined when it was not. */
  get fault(): string | undefined {
    return this.#fault;
  }

  get hasEnded(): boolean {
    return this.#isClosed;
  }

  /** The end of what it wrote on its standard error. */
  get lastWords(): string {
    return this.#tail.trim();
  }

  async start(): Promise<void> {
    const server = await ServerProcess.start(this.#command, this.#dataDir);
    this.#server = server;
    const { stdout, stderr } = server.child;
    stdout.on("data", (chunk: Buffer) => this.#read(chunk));
    stderr.on("data", (chunk: Buffer) => {
      this.#tail = `${this.#tail}${chunk.toString()}`.slice(-MAX_TAIL_CHARS);
      this.#countUnasked(chunk.length);
    });
    void server.ended.then(() => {
      this.#isClosed = true;
      this.onclose?.();
    });
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const { stdin } = this.#server?.child ?? {};
    if (!stdin || this.#isClosed) throw new Error("the server has ended");
    if ("method" in message && "id" in message) this.#asked.add(message.id);
    stdin.write(`${JSON.stringify(message)}\n`);
    if (stdin.writableLength > MAX_UNREAD_BYTES) this.#giveUp("it does not read what it is sent");
  }

  async close(): Promise<void> {
    await this.#server?.end();
  }

  #read(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0 && !this.#fault; end = chunk.indexOf(10, from)) {
      this.#line.push(chunk.subarray(from, end));
      const line = Buffer.concat(this.#line);
      this.#line = [];
      this.#lineBytes = 0;
      from = end + 1;
      this.#take(line);
    }
    if (this.#fault) return;
    this.#line.push(chunk.subarray(from));
    this.#lineBytes += chunk.length - from;
    if (this.#lineBytes > MAX_LINE_BYTES)
      this.#giveUp(`it wrote a line of more than ${MAX_LINE_BYTES} bytes`);
  }

  #take(line: Buffer): void {
    const message = parseJson(line.toString());
    const isAsked =
      isObject(message) && !("method" in message) && "id" in message && this.#asked.delete(message.id);
    if (isAsked) this.#unaskedBytes = 0;
    else this.#countUnasked(line.length + 1);
    // What is no message is passed over: some servers log on their standard output.
    if (!isObject(message) || (message.jsonrpc !== "2.0" && !isAsked) || this.#fault) return;
    // Of what a server tells by itself, nothing else matters here, and some tell a lot.
    if (!("id" in message) && message.method !== "notifications/tools/list_changed") return;
    const fault = isAsked ? answerFault(message, message.id) : undefined;
    const told = fault === undefined ? message : errorAnswer(message.id as string | number, fault);
    try {
      this.onmessage?.(told as JSONRPCMessage);
    } catch (error) {
      this.onerror?.(error as Error);
    }
  }

  #countUnasked(bytes: number): void {
    this.#unaskedBytes += bytes;
    if (this.#unaskedBytes > MAX_UNASKED_BYTES)
      this.#giveUp(`it wrote more than ${MAX_UNASKED_BYTES} bytes that nobody asked for`);
  }

  #giveUp(fault: string): void {
    if (this.#fault) return;
    this.#fault = fault;
    this.#line = [];
    this.#server?.kill();
  }
}
