import { InputError } from "../shared/errors.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The list of a namespace's runs (`:workflow-runs`, see `run-record.ts`), page by page, the latest first.
 */

/** Which runs are listed; absent: all. */
export interface RunFilter {
  state?: string | undefined;
  workflow?: string | undefined;
  version?: number | undefined;
  /** One of the tags that the run was started with. */
  tag?: string | undefined;
  /** Started at or after this time, in epoch milliseconds. */
  from?: number | undefined;
  /** Started before this time, in epoch milliseconds. */
  to?: number | undefined;
  tenant?: string | undefined;
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

/** Of the reply of `LIST`, for each run. */
const LINES = 6;

/**
 * Returns runs that fit, and where it stopped. It looks at `scan` runs at most, so that Redis serves others in between.
 * Keys: the index of runs. Arguments: what the key of a run's record begins with; the score and id to go on after, and the
 * lowest score; how many runs to return and to look at; the filters, empty where any fits. Returns: {score and id of
 * the last run looked at, or empty at the end; and as lines of one text, since a reply of many parts takes several times as
 * long, per run id, score, workflow, version, status, tags}. Called by `listRuns`. Fence: none; runs that come and go meanwhile are in the list or not.
 */
const LIST = new Script({
  keys: ["runs"],
  args: {
    ...{ record: "text", before: "text", beforeId: "text", from: "text", limit: "number", scan: "number" },
    ...{ state: "text", workflow: "text", version: "text", tag: "text", tenant: "text" },
  },
  lua: `
    local function hasTag(tags)
      local isReadable, list = pcall(cjson.decode, tags or '[]')
      for _, has in ipairs(isReadable and list or {}) do if has == tag then return true end end
      return false
    end
    -- Any number of runs may have begun in the same millisecond as the last one looked at.
    local rank = beforeId ~= '' and redis.call('ZREVRANK', runs, beforeId)
    local skipped = rank and rank + 1 - redis.call('ZCOUNT', runs, '(' .. before, '+inf') or 0
    local found = redis.call('ZREVRANGEBYSCORE', runs, before, from, 'WITHSCORES', 'LIMIT', skipped, scan)
    local reply, lines, size, count = {'', '', ''}, {}, 0, 0
    -- A record that is damaged must not hide the others.
    local call, fields = redis.pcall, {'workflow', 'version', 'status', 'tags'}
    -- Each field costs a look through the record.
    if tenant ~= '' then fields[5] = 'tenant' end
    for i = 1, #found, 2 do
      local id, score = found[i], found[i + 1]
      if beforeId == '' or score ~= before or id < beforeId then
        reply[1], reply[2] = score, id
        local run = call('HMGET', record .. id, unpack(fields))
        local fits = run[3] and (state == '' or run[3] == state) and (workflow == '' or run[1] == workflow)
          and (version == '' or run[2] == version)
          and (tag == '' or hasTag(run[4])) and (tenant == '' or (run[5] or '${DEFAULT_TENANT}') == tenant)
        if fits then
          lines[size + 1], lines[size + 2], lines[size + 3] = id, score, run[1]
          lines[size + 4], lines[size + 5], lines[size + 6] = run[2], run[3], run[4] or '[]'
          count, size = count + 1, size + ${LINES}
          if count == limit then break end
        end
      end
    end
    if count < limit and #found < 2 * scan then reply[1], reply[2] = '', '' end
    reply[3] = table.concat(lines, '\\n')
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
  { state = "", workflow = "", version, tag = "", from, to, tenant = "" }: RunFilter,
  limit: number,
  cursor?: string,
): Promise<{ runs: ListedRun[]; cursor: string | undefined }> {
  const shared = { record: keys.workflow(""), from: `${from ?? "-inf"}`, scan: SCAN };
  const filter = { state, workflow, version: `${version ?? ""}`, tag, tenant };
  const ask = (before: string, beforeId: string, wanted: number) =>
    LIST.run(
      redis,
      { runs: keys.workflowRuns },
      { ...shared, ...filter, before, beforeId, limit: wanted },
    ) as Promise<string[]>;
  const [before, beforeId] =
    cursor === undefined ? [to === undefined ? "+inf" : `(${to}`, ""] : placeIn(cursor);
  let reply = ask(before, beforeId, limit);
  const runs: ListedRun[] = [];
  for (;;) {
    const [score = "", id = "", text = ""] = await reply;
    const lines = text === "" ? [] : text.split("\n");
    const wanted = limit - runs.length - lines.length / LINES;
    // Redis looks at the next runs while these are read.
    if (id !== "" && wanted > 0) reply = ask(score, id, wanted);
    for (let i = 0; i < lines.length; i += LINES) runs.push(listed(lines, i));
    if (id === "") return { runs, cursor: undefined };
    if (wanted <= 0) return { runs, cursor: Buffer.from(`${score}:${id}`).toString("base64url") };
  }
}

/** The run whose lines begin at a place. */
function listed(lines: readonly string[], at: number): ListedRun {
  const [id = "", workflow = "", state = "", tags = "[]"] = [
    lines[at],
    lines[at + 2],
    lines[at + 4],
    lines[at + 5],
  ];
  return {
    id,
    startedAt: Number(lines[at + 1]),
    workflow,
    version: Number(lines[at + 3]),
    state,
    tags: tags === "[]" ? [] : ((parseJson(tags) ?? []) as string[]),
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

/** What a run has used so far, and how it ended. */
export interface RunSums {
  /** Epoch milliseconds; undefined while it runs. */
  finishedAt: number | undefined;
  tokens: number;
  /** As far as its models are priced. */
  costUsd: number;
  /** Ended steps whose cost is unknown. */
  unpriced: number;
  /** The code of the error that it ended with, or that keeps it from going on. */
  error: string | undefined;
  tenant: string;
}

const SUM_FIELDS = [
  "finishedAt",
  "promptTokens",
  "completionTokens",
  "costUsd",
  "unpriced",
  "error",
  "blocked",
  "tenant",
];

/** Returns the sums of runs, in their order; undefined for one whose record is gone or damaged. */
export async function readRunSums(
  { redis, keys }: Store,
  ids: readonly string[],
): Promise<(RunSums | undefined)[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hmget(keys.workflow(id), ...SUM_FIELDS);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([fault, values]) => {
    if (fault) return undefined;
    const [finishedAt, prompt, completion, costUsd, unpriced, error, blocked, tenant] = values as (
      | string
      | null
    )[];
    const { code } = fieldsOf(parseJson(error ?? blocked ?? "null")) as { code?: string };
    return {
      finishedAt: finishedAt ? Number(finishedAt) : undefined,
      tokens: Number(prompt ?? 0) + Number(completion ?? 0),
      costUsd: Number(costUsd ?? 0),
      unpriced: Number(unpriced ?? 0),
      error: code,
      tenant: tenant ?? DEFAULT_TENANT,
    };
  });
}
