import { publishRollout } from "./boundaries.ts";
import type { Group, GroupInput } from "./group.ts";
import type { RolloutFolder } from "./rollout-folder.ts";
import type { RolloutRow } from "./rollout-rows.ts";

/** How far a rollout is. */
export interface RolloutProgress {
  /** Groups whose samples are in the folder, those of earlier runs included. */
  groups: number;
  /** Groups of the whole rollout. */
  total: number;
  /** Why it does not go on, for people, where something is lacking: a worker that has the rewards, a budget, a provider. */
  waitsFor?: readonly string[];
}

interface Collecting {
  folder: RolloutFolder;
  rows: readonly RolloutRow[];
  /** Brings a group to its end; the same group again is the same samples. */
  play: (input: GroupInput, signal: AbortSignal) => Promise<Group>;
  /** Groups at a time. */
  groupsInFlight: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: RolloutProgress) => void) | undefined;
}

/**
 * Has the groups played that the folder lacks, a few at a time, and keeps each as it ends.
 * @throws the first error, after which no further group is begun; those under way go on in Redis, for the next run to find
 */
export async function collectGroups(collecting: Collecting): Promise<void> {
  const { folder, rows, play, groupsInFlight, signal, onProgress } = collecting;
  const stop = new AbortController();
  const end = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const missing = rows.entries();
  const tell = () => onProgress?.({ groups: folder.count, total: rows.length });
  tell();
  const work = async () => {
    for (const [group, { row, prompt }] of missing) {
      end.throwIfAborted();
      if (folder.has(group)) continue;
      const played = await play({ ...folder.spec, group, row, prompt }, end);
      publishRollout("played");
      await folder.add(played);
      publishRollout("kept");
      tell();
    }
  };
  const workers = Array.from({ length: Math.min(groupsInFlight, rows.length) }, work);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(workers);
    throw error;
  }
}
