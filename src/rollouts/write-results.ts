import { join } from "node:path";
import { publishRollout } from "./boundaries.ts";
import { dpoRows, type ExportFormat, trlRows, verifiersMetadata, verifiersRows } from "./exports.ts";
import { type RolloutFolder, toBuffers, toLines } from "./rollout-folder.ts";
import {
  type ScoredGroup,
  type ScoredStep,
  type ScoringOptions,
  type StepSums,
  scoredSteps,
  sumsOf,
} from "./scored-step.ts";

/** What a finished rollout says of itself, and `report.json` holds. */
export interface RolloutReport extends StepSums {
  /** The rollout's id. */
  id: string;
  /** The folder, and its files by what they are. */
  folder: string;
  files: Record<string, string>;
}

/**
 * Writes what is made of a rollout's groups: samples with their advantages, sums per step, the exports and the report. Each file is
 * replaced in one step, so that a kill in between leaves nothing half.
 */
export async function writeResults(
  folder: RolloutFolder,
  options: ScoringOptions,
  formats: readonly ExportFormat[],
): Promise<RolloutReport> {
  const { spec } = folder;
  const steps = () => scoredSteps(folder.groups(), spec, options);
  const files: Record<string, string> = { groups: join(folder.path, "groups.jsonl") };
  const write = async (what: string, name: string, rows: (step: ScoredStep) => readonly object[]) => {
    let count = 0;
    const counted = (step: ScoredStep) => {
      const some = rows(step);
      count += some.length;
      return some;
    };
    await folder.write(name, toLines(flat(steps(), counted)));
    // There is no file without a line, as of pairs where no group has two rewards.
    if (count > 0) files[what] = join(folder.path, name);
    publishRollout(`wrote ${what}`);
  };
  await write("samples", "samples.jsonl", sampleRows);
  await write("steps", "steps.jsonl", ({ step, groups }) => [{ step, ...sumsOf(groups, spec.rewards) }]);
  if (formats.includes("trl")) await write("trl", "trl.jsonl", trlRows);
  if (formats.includes("dpo")) await write("dpo", "dpo.jsonl", dpoRows);
  const groups: ScoredGroup[] = [];
  for await (const step of steps()) groups.push(...step.groups.map(withoutTexts));
  if (formats.includes("verifiers")) {
    await write("verifiers", "verifiers/results.jsonl", verifiersRows);
    const metadata = JSON.stringify(verifiersMetadata(spec, groups));
    await folder.write("verifiers/metadata.json", toBuffers([`${metadata}\n`]));
  }
  const report = { id: folder.id, folder: folder.path, files, ...sumsOf(groups, spec.rewards) };
  await folder.write("report.json", toBuffers([`${JSON.stringify(report, null, 2)}\n`]));
  publishRollout("wrote report");
  return report;
}

function sampleRows({ step, groups }: ScoredStep): object[] {
  return groups.flatMap(({ group, row, prompt, samples, isInformative, isDropped }) =>
    samples.map(({ sample, ...rest }) => ({
      step,
      group,
      sample,
      informative: isInformative,
      dropped: isDropped,
      row,
      prompt,
      ...rest,
    })),
  );
}

/** The figures of all groups fit into memory where their texts do not. */
function withoutTexts(group: ScoredGroup): ScoredGroup {
  const bare = <T extends object>(sample: T): T => ({ ...sample, completion: [], text: "" });
  const { discarded } = group;
  return {
    ...group,
    row: {},
    prompt: [],
    samples: group.samples.map(bare),
    ...(discarded && { discarded: discarded.map(bare) }),
  };
}

async function* flat<T>(
  steps: AsyncIterable<T>,
  rows: (step: T) => readonly object[],
): AsyncGenerator<object> {
  for await (const step of steps) yield* rows(step);
}
