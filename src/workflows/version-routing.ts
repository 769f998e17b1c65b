import type { RunRecord } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { readWorkerCards, readWorkersById, versionSeenAt } from "../store/worker-card.ts";
import type { AnyWorkflow } from "./workflow.ts";

/** How long a run waits for a worker of its own version when none is left, unless its workflow says otherwise. */
const VERSION_GRACE_MS = 10_000;

/** Returns why a worker with this code leaves the run to others; undefined when it may go on with it. */
export async function reasonToLeave(
  store: Store,
  { workflow: name, version }: RunRecord,
  workflow: AnyWorkflow,
): Promise<string | undefined> {
  if (version === workflow.version) return undefined;
  if (version > workflow.version) return `needs a worker with version ${version} of workflow "${name}"`;
  const [cards, seenAt] = await Promise.all([readWorkerCards(store), versionSeenAt(store, name, version)]);
  if (cards.some(({ versions }) => versions[name] === version)) {
    return `a worker with version ${version} of workflow "${name}" has a turn for it`;
  }
  if (hasPatch(workflow)) return undefined;
  const { versionGraceMs = VERSION_GRACE_MS } = workflow;
  if (Date.now() - seenAt >= versionGraceMs) return undefined;
  return `a worker with version ${version} of workflow "${name}" may come back`;
}

/**
 * Code with a patch goes on with runs of earlier versions: whoever wrote it has said so. Its text is all that can be looked at before it
 * runs: a patch in a function that it calls is not seen, and the run waits for `versionGraceMs`.
 */
function hasPatch({ run }: AnyWorkflow): boolean {
  return /\.\s*patch\s*\(/.test(Function.prototype.toString.call(run));
}

/**
 * Returns whether a living worker may have code that fits the run: it has the workflow, in a version that may take the run, and is
 * not among those whose code did not fit it; or one of its own version was there a moment ago.
 */
export async function mayFitElsewhere(
  store: Store,
  { workflow, version }: Pick<RunRecord, "workflow" | "version">,
  unfit: readonly string[],
): Promise<boolean> {
  const workers = [...(await readWorkersById(store))];
  const versionOf = ([, { versions }]: (typeof workers)[number]) => versions[workflow] ?? 0;
  if (workers.some((worker) => !unfit.includes(worker[0]) && versionOf(worker) >= version)) return true;
  if (workers.some((worker) => versionOf(worker) === version)) return false;
  return Date.now() - (await versionSeenAt(store, workflow, version)) < VERSION_GRACE_MS;
}
