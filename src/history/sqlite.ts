import { once } from "node:events";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { HistoryDatabase } from "./database.ts";
import type { SqliteQuestion, SqliteReply } from "./sqlite-thread.ts";
import type { Rows, SqlValue } from "./tables.ts";

type Ask<Q = SqliteQuestion> = Q extends SqliteQuestion ? Omit<Q, "id"> : never;

/** The history in a SQLite file, on which a thread of its own works. */
export class SqliteHistory implements HistoryDatabase {
  readonly engine = "sqlite";
  readonly place: string;
  readonly #thread: Worker;
  readonly #open = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #asked = 0;
  #end: Error | undefined;

  private constructor(path: string) {
    this.place = path;
    this.#thread = new Worker(threadProgram(), {
      workerData: { path },
      // Node.js 22 warns of SQLite, which is our choice.
      execArgv: [
        ...process.execArgv.filter((arg) => !arg.startsWith("--input-type")),
        "--disable-warning=ExperimentalWarning",
      ],
    });
    this.#thread.unref();
    this.#thread.on("message", (reply: SqliteReply) => this.#take(reply));
    this.#thread.on("error", (error) => this.#fail(error as Error));
    this.#thread.on("exit", () => this.#fail(new Error("the thread of the history's file has ended")));
  }

  /** @throws Error when the file cannot be opened or made */
  static async open(path: string): Promise<SqliteHistory> {
    const history = new SqliteHistory(path);
    try {
      await history.#ask({ ask: "open" });
      return history;
    } catch (error) {
      await history.close();
      throw error;
    }
  }

  query<Row extends Record<string, SqlValue>>(
    sql: string,
    parameters: readonly SqlValue[] = [],
  ): Promise<Row[]> {
    return this.#ask({ ask: "query", sql, parameters }) as Promise<Row[]>;
  }

  async write(rows: Rows): Promise<void> {
    await this.#ask({ ask: "write", rows });
  }

  remove(sql: string, parameters: readonly SqlValue[] = []): Promise<number> {
    return this.#ask({ ask: "remove", sql, parameters }) as Promise<number>;
  }

  async close(): Promise<void> {
    if (this.#end) return;
    const ended = once(this.#thread, "exit");
    await this.#ask({ ask: "close" }).catch(() => {});
    // The process stays until the log of the file is part of it.
    this.#thread.ref();
    await ended;
  }

  #ask(question: Ask): Promise<unknown> {
    if (this.#end) return Promise.reject(this.#end);
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject });
      // A command waits for what it has asked.
      this.#thread.ref();
      this.#thread.postMessage({ id, ...question });
    });
  }

  #take(reply: SqliteReply): void {
    const asked = this.#open.get(reply.id);
    this.#open.delete(reply.id);
    if (this.#open.size === 0) this.#thread.unref();
    if ("fault" in reply) asked?.reject(new Error(reply.fault));
    else asked?.resolve(reply.value);
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#open.values()) reject(error);
    this.#open.clear();
  }
}

/** The thread's file; a bundle has no such file, and takes that of the package. */
function threadProgram(): string {
  const own: string = import.meta.url ?? pathToFileURL(process.argv[1] ?? process.cwd()).href;
  const beside = fileURLToPath(
    new URL(own.endsWith(".ts") ? "./sqlite-thread.ts" : "./sqlite-thread.js", own),
  );
  if (existsSync(beside)) return beside;
  return join(
    dirname(createRequire(own).resolve("gluellm/package.json")),
    "dist/src/history/sqlite-thread.js",
  );
}
