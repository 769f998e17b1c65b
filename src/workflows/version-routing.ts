import type { RunRecord } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { readWorkerCards, versionSeenAt } from "../store/worker-card.ts";
import type { AnyWorkflow } from "./workflow.ts";

/** How long a run waits for a worker of its own version when none is left, unless its workflow says otherwise. */
const VERSION_GRACE_MS = 10_000;
/** How often each worker may be offered a run whose recorded steps this one does not fit. */
const OFFERS_PER_WORKER = 3;

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
  const { versionGraceMs = VERSION_GRACE_MS } = workflow;
  if (Date.now() - seenAt >= versionGraceMs) return undefined;
  return `a worker with version ${version} of workflow "${name}" may come back`;
}

/** Whether another worker may have code that fits the run: it has the workflow, and has hardly been asked. */
export async function mayFitElsewhere(
  store: Store,
  { workflow }: RunRecord,
  offers: number,
): Promise<boolean> {
  const cards = await readWorkerCards(store);
  const workers = cards.filter(({ workflows }) => workflows.includes(workflow)).length;
  return workers > 1 && offers < OFFERS_PER_WORKER * workers;
}
