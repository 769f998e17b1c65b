import type { Store } from "./store.ts";
import type { JournalEntry } from "./workflow-journal.ts";

const PAGE = 500;

/** The journal from an entry on, read in pages so that Redis serves others in between. */
export async function readJournal(store: Store, runId: string, from = 0): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for (;;) {
    const start = from + entries.length;
    const page = await store.redis.lrange(store.keys.workflowJournal(runId), start, start + PAGE - 1);
    entries.push(...page.map(parseEntry));
    if (page.length < PAGE) return entries;
  }
}

export function parseEntry(text: string): JournalEntry {
  return JSON.parse(text) as JournalEntry;
}
