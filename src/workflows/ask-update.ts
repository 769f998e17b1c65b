import { randomUUID } from "node:crypto";
import { Wakeup } from "../producers/wakeup.ts";
import { fromErrorRecord } from "../shared/error-record.ts";
import { decode, encode } from "../shared/serialize.ts";
import { isBlobRef, readBlob } from "../store/blobs.ts";
import {
  notifyRun,
  readRunJournal,
  runJournalLength,
  type UpdatedEntry,
  type UpdateEntry,
} from "../store/run-journal.ts";
import { inlineOrRunBlob, readRun } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { runOver } from "./run-errors.ts";

const POLL_MS = 500;

/**
 * Gives a run an update, and waits for what its handler returns.
 * @param updateId the caller's name for it: the same one again is the same update, and has the same answer
 * @throws what the handler threw; GlueError `run_over` when the run ended without an answer; the signal's reason
 */
export async function askUpdate(
  { store }: FleetAccess,
  runId: string,
  { name, data, updateId }: { name: string; data: unknown; updateId?: string | undefined },
  signal: AbortSignal,
): Promise<unknown> {
  const id = updateId ?? randomUUID();
  const entry: UpdateEntry = { type: "update", id, name, at: Date.now() };
  const { json, isTyped } = encode(data, `update "${name}"`);
  if (isTyped) entry.typed = true;
  const stored = json === undefined ? undefined : await inlineOrRunBlob(store, runId, json);
  if (isBlobRef(stored)) entry.blob = stored;
  else entry.data = stored;
  const wakeup = new Wakeup();
  const wake = () => wakeup.wake();
  using _ = await store.notifier.listen({ [`workflow:${runId}`]: wake, [`result:${runId}`]: wake });
  // An update of this id may have come, and been answered, before.
  let from = updateId === undefined ? await runJournalLength(store, runId) : 0;
  await notifyRun(store, runId, entry, [], `update:${id}`);
  signal.addEventListener("abort", wake, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const run = await readRun(store, runId);
      const entries = await readRunJournal(store, runId, from);
      const answer = entries.find((each) => each.type === "updated" && each.id === id);
      if (answer?.type === "updated") return await answerOf(store, answer);
      if (run?.status !== "running") throw runOver(runId, run?.status ?? "lost", "updates");
      from += entries.length;
      await wakeup.wait(POLL_MS);
    }
  } finally {
    signal.removeEventListener("abort", wake);
  }
}

async function answerOf(store: Store, { error, value, blob, typed }: UpdatedEntry): Promise<unknown> {
  if (error) throw fromErrorRecord(error);
  const json = blob ? await readBlob(store, blob) : value;
  return typed ? decode(json) : json;
}
