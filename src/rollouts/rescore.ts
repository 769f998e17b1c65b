import { InputError } from "../shared/errors.ts";
import { type Reward, toScore } from "../shared/reward.ts";
import { thrownText } from "../shared/thrown-text.ts";
import type { Group, Sample } from "./group.ts";
import type { RolloutFolder } from "./rollout-folder.ts";
import { seenSample } from "./sample-turns.ts";

/**
 * Yields a rollout's groups with scores by other rewards, computed in this process: no provider is called. A judge keeps the scores
 * that it gave.
 * @throws InputError (`judge_not_recorded`) for a judge that has given none
 */
export async function* rescored(folder: RolloutFolder, rewards: readonly Reward[]): AsyncGenerator<Group> {
  for await (const group of folder.groups()) {
    const rescore = (sample: Sample) => rescoreSample(group, sample, rewards);
    yield { ...group, samples: await Promise.all(group.samples.map(rescore)) };
  }
}

async function rescoreSample(group: Group, sample: Sample, rewards: readonly Reward[]): Promise<Sample> {
  const { rewards: before, rewardErrors: faultsBefore = {}, ...rest } = sample;
  const scores: Sample["rewards"] = {};
  const faults: NonNullable<Sample["rewardErrors"]> = {};
  for (const reward of rewards) {
    const { name } = reward;
    if (reward.judgeModel !== undefined) {
      if (before[name] === undefined) throw notRecorded(name);
      scores[name] = before[name];
      if (faultsBefore[name]) faults[name] = faultsBefore[name];
    } else if (sample.error) {
      scores[name] = null;
    } else {
      try {
        scores[name] = toScore(name, await within(reward, group, sample));
      } catch (error) {
        scores[name] = null;
        faults[name] = faultOf(error);
      }
    }
  }
  return { ...rest, rewards: scores, ...(Object.keys(faults).length > 0 && { rewardErrors: faults }) };
}

async function within({ run, timeoutMs }: Reward, group: Group, sample: Sample): Promise<unknown> {
  const signal = AbortSignal.timeout(timeoutMs);
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () =>
      reject(new InputError("it took too long", undefined, "step_timeout")),
    );
  });
  const seen = structuredClone(seenSample(group, sample));
  return Promise.race([(async () => run(seen as never, signal))(), late]);
}

function faultOf(error: unknown): { code: string; message: string } {
  if (error instanceof InputError) return { code: error.code, message: error.message };
  return { code: "workflow_failed", message: thrownText(error) };
}

function notRecorded(name: string): InputError {
  return new InputError(
    `judge "${name}" has given no scores in this rollout, and rescore never pays`,
    "leave it out, or run the rollout with it in a new folder",
    "judge_not_recorded",
  );
}
