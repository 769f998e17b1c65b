import { parentPort, workerData } from "node:worker_threads";
import { SqliteFile } from "./sqlite-file.ts";
import type { Rows, SqlValue } from "./tables.ts";

/* The thread that works on the history's file: SQLite blocks whoever calls it. One question at a time, in their order. */

/** What the thread is asked. */
export type SqliteQuestion = { id: number } & (
  | { ask: "query" | "remove"; sql: string; parameters: readonly SqlValue[] }
  | { ask: "write"; rows: Rows }
  | { ask: "open" | "close" }
);

/** What the thread answers: the value, or the text of the fault. */
export type SqliteReply = { id: number } & ({ value: unknown } | { fault: string });

let file: SqliteFile | undefined;

parentPort?.on("message", (question: SqliteQuestion) => {
  try {
    parentPort?.postMessage({ id: question.id, value: answer(question) } satisfies SqliteReply);
  } catch (error) {
    parentPort?.postMessage({ id: question.id, fault: (error as Error).message } satisfies SqliteReply);
  }
  if (question.ask === "close") parentPort?.close();
});

function answer(question: SqliteQuestion): unknown {
  if (question.ask === "close") return file?.close();
  // A file that could not be opened, or was away, is tried again.
  file ??= new SqliteFile((workerData as { path: string }).path);
  switch (question.ask) {
    case "open":
      return undefined;
    case "query":
      return file.query(question.sql, question.parameters);
    case "remove":
      return file.remove(question.sql, question.parameters);
    case "write":
      return file.write(question.rows);
  }
}
