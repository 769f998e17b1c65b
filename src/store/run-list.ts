import { InputError } from "../shared/errors.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The list of a namespace's runs (`:workflow-runs`, see `run-record.ts`), page by page, the latest first.
 */

/** Which runs are listed; absent: all. */
export interface RunFilter {
  state?: string;
  workflow?: string;
  version?: number;
  /** One of the tags that the run was started with. */
  tag?: string;
  /** Started at or after this time, in epoch milliseconds. */
  from?: number;
  /** Started before this time, in epoch milliseconds. */
  to?: number;
}

/** What the list says of a run. */
export interface ListedRun {
  id: string;
  startedAt: number;
  workflow: string;
  version: number;
  state: string;
  tags: string[];
}

/**
 * Returns runs that fit, and where it stopped. It looks at `scan` runs at most, so that Redis serves others in between.
 * Keys: the index of runs. Arguments: what the key of a run's record begins with; the score and id to go on after, and the
 * lowest score; how many runs to return and to look at; the filters, empty where any fits. Returns: {score and id of
 * the last run looked at, or empty at the end; then per run id, score, workflow, version, status, tags}. Called by
 * `listRuns`. Fence: none; runs that come and go meanwhile are in the list or not.
 */
const LIST = new Script({
  keys: ["runs"],
  args: {
    ...{ record: "text", before: "text", beforeId: "text", from: "text", limit: "number", scan: "number" },
    ...{ state: "text", workflow: "text", version: "text", tag: "text" },
  },
  lua: `
    local found = redis.call('ZREVRANGEBYSCORE', runs, before, from, 'WITHSCORES', 'LIMIT', 0, scan)
    local reply = {'', ''}
    local count = 0
    for i = 1, #found, 2 do
      local id, score = found[i], found[i + 1]
      if beforeId == '' or score ~= before or id < beforeId then
        reply[1], reply[2] = score, id
        local run = redis.call('HMGET', record .. id, 'workflow', 'version', 'status', 'tags')
        local fits = run[3] and (state == '' or run[3] == state) and (workflow == '' or run[1] == workflow)
          and (version == '' or run[2] == version)
          and (tag == '' or (run[4] and string.find(run[4], tag, 1, true)))
        if fits then
          count = count + 1
          for _, part in ipairs({id, score, run[1], run[2], run[3], run[4] or '[]'}) do reply[#reply + 1] = part end
          if count == limit then return reply end
        end
      end
    end
    if #found < 2 * scan then reply[1], reply[2] = '', '' end
    return reply
  `,
});

const SCAN = 1000;

/**
 * Returns at most `limit` runs that fit, the latest first, and the cursor of the next page; undefined at the end.
 * @param cursor of the page before
 * @throws InputError for a cursor that is none
 */
export async function listRuns(
  { redis, keys }: Store,
  { state = "", workflow = "", version, tag, from, to }: RunFilter,
  limit: number,
  cursor?: string,
): Promise<{ runs: ListedRun[]; cursor: string | undefined }> {
  let [before, beforeId] =
    cursor === undefined ? [to === undefined ? "+inf" : `(${to}`, ""] : placeIn(cursor);
  const runs: ListedRun[] = [];
  for (;;) {
    const [score = "", id = "", ...rest] = (await LIST.run(
      redis,
      { runs: keys.workflowRuns },
      {
        record: keys.workflow(""),
        ...{ before, beforeId, from: from === undefined ? "-inf" : `${from}`, limit: limit - runs.length },
        ...{
          scan: SCAN,
          state,
          workflow,
          version: `${version ?? ""}`,
          tag: tag === undefined ? "" : JSON.stringify(tag),
        },
      },
    )) as string[];
    for (let i = 0; i < rest.length; i += 6) runs.push(listed(rest.slice(i, i + 6)));
    if (id === "") return { runs, cursor: undefined };
    if (runs.length >= limit) return { runs, cursor: Buffer.from(`${score}:${id}`).toString("base64url") };
    [before, beforeId] = [score, id];
  }
}

function listed([id = "", score, workflow = "", version, state = "", tags = "[]"]: string[]): ListedRun {
  return {
    id,
    startedAt: Number(score),
    workflow,
    version: Number(version),
    state,
    tags: JSON.parse(tags) as string[],
  };
}

function placeIn(cursor: string): [string, string] {
  const [, score, id] = /^(\d+):(.+)$/.exec(Buffer.from(cursor, "base64url").toString()) ?? [];
  if (score === undefined || id === undefined) {
    throw new InputError(
      `"${cursor}" is no cursor of a list of runs`,
      "give the cursor of the page before, as it is",
    );
  }
  return [score, id];
}
