import type { CompletionPayload } from "../shared/catalog.ts";
import { InputError } from "../shared/errors.ts";
import { isToolSet, type ListedTool, type Tool, type ToolSet } from "../shared/tool.ts";
import type { JobJournal } from "../store/job-journal.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { Store } from "../store/store.ts";
import { readToolList, writeToolList } from "../store/tool-list.ts";
import type { WorkerContext } from "./context.ts";

/** What providers take. */
const MAX_TOOLS = 128;

export interface JobOfTools extends Pick<ActiveJob, "withoutSlot"> {
  payload: Pick<CompletionPayload, "tools">;
  journal: JobJournal | undefined;
  signal: AbortSignal;
}

/**
 * Returns the tools of a job. Those of a set are the ones that it had when the job began: a job that is resumed has them still.
 * @param others names of tools that the job may have later
 * @throws InputError `duplicate_tool`, `too_many_tools`; GlueError `tool_server_unavailable`; FencedError
 */
export async function toolsOfJob(
  context: WorkerContext,
  job: JobOfTools,
  others: readonly string[] = [],
): Promise<Tool[]> {
  const toTools = (names: readonly string[]) => names.flatMap((name) => context.tools.get(name) ?? []);
  const named = toTools(job.payload.tools ?? []);
  const sets = [...new Set([...named, ...toTools(others)])].filter(isToolSet);
  if (sets.length === 0 || !job.journal) return named;
  const lists = await listsOf(context, sets, { ...job, journal: job.journal });
  const tools = named.flatMap((tool) =>
    isToolSet(tool)
      ? owned(tool.name, context.toolSets.of(tool).toTools(lists.get(tool.name) ?? []))
      : owned("", [tool]),
  );
  const owners = new Map<string, string>();
  for (const { owner, tool } of tools) {
    const other = owners.get(tool.name);
    if (other !== undefined) throw duplicate(tool.name, other, owner);
    owners.set(tool.name, owner);
  }
  if (tools.length <= MAX_TOOLS) return tools.map(({ tool }) => tool);
  throw new InputError(
    `the job has ${tools.length} tools, and providers take ${MAX_TOOLS}`,
    `choose among those of ${sets.map(({ name }) => name).join(", ")} with the option allow`,
    "too_many_tools",
  );
}

type JournaledJob = JobOfTools & { journal: JobJournal };

async function listsOf(context: WorkerContext, sets: readonly ToolSet[], job: JournaledJob) {
  const { store, logger } = context;
  const known = await journaledLists(store, job.journal.toolLists ?? {});
  const missing = sets.filter(({ name }) => !known.has(name));
  if (missing.length === 0) return known;
  // A server may take long to start, and no provider is called meanwhile.
  const found = await job.withoutSlot(() =>
    Promise.all(missing.map((set) => context.toolSets.of(set).list(job.signal))),
  );
  const digests = await Promise.all(
    found.map((list) => untilTaken(logger, () => writeToolList(store, list))),
  );
  if (!job.journal.toolLists) {
    const entries = missing.map(({ name }, i) => [name, digests[i] as string]);
    await job.journal.append({ kind: "tools", sets: Object.fromEntries(entries) });
  }
  for (const [i, { name }] of missing.entries()) known.set(name, found[i] as ListedTool[]);
  return known;
}

async function journaledLists(store: Store, digests: Readonly<Record<string, string>>) {
  const lists = new Map<string, ListedTool[]>();
  for (const [name, digest] of Object.entries(digests)) {
    const list = await readToolList(store, digest);
    if (list) lists.set(name, list);
  }
  return lists;
}

function owned(owner: string, tools: readonly Tool[]) {
  return tools.map((tool) => ({ owner, tool }));
}

function duplicate(tool: string, one: string, other: string): InputError {
  const places = [one, other].map((owner) => (owner === "" ? "one of its own" : `one of "${owner}"`));
  return new InputError(
    `the job has two tools called "${tool}": ${places.join(" and ")}`,
    "give the tools of one set a prefix, or leave the tool out with the option allow",
    "duplicate_tool",
  );
}
