import { type Command, InvalidArgumentError } from "commander";
import { LANES, type Lane, type LaneOptions } from "../batch/lanes/lane-plan.ts";
import { readDeadline } from "../shared/deadline.ts";
import { InputError } from "../shared/errors.ts";

export const BY_HELP = "be done by then, as cheaply as that allows: 6h, 90m, 08:00 or an ISO date";

/** Adds `--by` and `--lanes`. */
export function addLaneOptions(command: Command): Command {
  return command
    .option("--by <when>", BY_HELP)
    .option(
      "--lanes <list>",
      `what --by may buy: provider batches and the tier flex at half the price, online calls (default: ${LANES})`,
      laneList,
    );
}

/**
 * Returns what the options say; undefined without `--by`.
 * @throws InputError for a time that is none, or has passed; for `--lanes` without `--by`
 */
export function readLanes(options: Record<string, unknown>): LaneOptions | undefined {
  const { by, lanes } = options;
  if (by === undefined && lanes !== undefined)
    throw new InputError("--lanes says nothing without --by", "add --by, or leave --lanes out");
  if (by === undefined) return undefined;
  return { byMs: readDeadline(String(by)), lanes: (lanes ?? LANES) as Lane[] };
}

/** `batch,flex,online`; online is the last way in any case. */
function laneList(text: string): Lane[] {
  const names = text.split(",");
  const wrong = names.find((name) => !(LANES as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(`${wrong} is no lane; there are ${LANES.join(", ")}`);
  return names as Lane[];
}
