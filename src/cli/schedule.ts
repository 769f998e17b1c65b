import { type Command, Option } from "commander";
import { GlueLLM } from "../client/glue-llm.ts";
import type { ScheduledBatch } from "../client/scheduled-batch.ts";
import type { Schedule, ScheduleOptions } from "../client/schedules.ts";
import { loadModules } from "../host/load-modules.ts";
import { loadSettings } from "../shared/settings.ts";
import { collect, integer, namedValues, number } from "./options.ts";
import { jsonText, print } from "./output.ts";
import { showSchedule, showSchedules, showTimes } from "./schedule-text.ts";
import { withClient } from "./workflow-client.ts";
import { parseJson, readWorkflowInput, withAgents } from "./workflow-input.ts";
import { MODULE_OPTION, namedWorkflow } from "./workflow-run.ts";

const JSON_OPTION = ["--json", "as JSON"] as const;
const ID = ["<id>", "the schedule's id"] as const;

/** `gluellm schedule create|list|show|pause|resume|trigger|next|delete`. */
export function addScheduleCommands(program: Command): void {
  const schedule = program.command("schedule").description("Runs and completions at times.");
  addCreateCommand(schedule);
  schedule
    .command("list")
    .description("All schedules.")
    .option(...JSON_OPTION)
    .action(({ json }: Shown) =>
      withClient(async ({ schedules }) => {
        const all = await schedules.list();
        return json ? jsonText(all) : showSchedules(all);
      }),
    );
  addAction(
    schedule,
    "show",
    "Where a schedule stands, and what became of its latest ticks.",
    async (found) => showSchedule(found),
  );
  addAction(schedule, "pause", "Let a schedule tick no more until it is resumed.", async (found) => {
    await found.pause();
    return `schedule ${found.id} is paused`;
  });
  addAction(schedule, "resume", "Let a paused schedule tick again; nothing is caught up.", async (found) => {
    const { nextRun } = await found.resume();
    return `schedule ${found.id} ticks again at ${nextRun?.toISOString()}`;
  });
  schedule
    .command("trigger")
    .description("Start a run at once, and print its id.")
    .argument(...ID)
    .option(...JSON_OPTION)
    .action((id: string, { json }: Shown) =>
      withClient(async ({ schedules }) => {
        const run = await schedules.trigger(id);
        return json ? jsonText({ id, run }) : run;
      }),
    );
  schedule
    .command("next")
    .description("The times of its next ticks.")
    .argument(...ID)
    .option("--count <n>", "how many", integer(1, 1000), 5)
    .option(...JSON_OPTION)
    .action((id: string, { json, count }: Shown & { count: number }) =>
      withClient(async ({ schedules }) => {
        const found = await schedules.get(id);
        const times = found.next(count);
        return json ? jsonText(times) : showTimes(times, found.timezone);
      }),
    );
  schedule
    .command("delete")
    .description("Delete a schedule; runs that it has begun go on.")
    .argument(...ID)
    .option(...JSON_OPTION)
    .action((id: string, { json }: Shown) =>
      withClient(async ({ schedules }) => {
        if (!(await schedules.delete(id))) await schedules.get(id);
        return json ? jsonText({ id, deleted: true }) : `schedule ${id} is deleted`;
      }),
    );
}

interface Shown {
  json?: boolean;
}

function addAction(
  parent: Command,
  name: string,
  description: string,
  act: (schedule: Schedule) => Promise<string>,
): void {
  parent
    .command(name)
    .description(description)
    .argument(...ID)
    .option(...JSON_OPTION)
    .action((id: string, { json }: Shown) =>
      withClient(async ({ schedules }) => {
        const said = await act(await schedules.get(id));
        return json ? jsonText(await schedules.get(id)) : said;
      }),
    );
}

interface CreateOptions
  extends Shown,
    Omit<ScheduleOptions, "id" | "workflow" | "completion" | "batch" | "input" | "tags"> {
  workflow?: string;
  completion?: string;
  batch?: string;
  window?: string;
  endpoint?: string;
  metadata?: string[];
  input?: string;
  inputJson?: string;
  inputFile?: string;
  config?: string;
  module?: string[];
  model?: string;
  deadline?: number;
  tag?: string[];
}

function addCreateCommand(schedule: Command): void {
  schedule
    .command("create")
    .description("Create a schedule, or give the one of this id another definition.")
    .argument(...ID)
    .option("--workflow <name>", "the workflow to run: a pattern, or one of --module")
    .option("--completion <prompt>", "or the completion to make")
    .option("--batch <file>", "or the batch to run: a file of OpenAI batch lines, which is stored now")
    .option("--window <hours>", "of --batch: in which each has to end (default: 24h)")
    .option("--endpoint <path>", "of --batch: whose lines they are (default: that of the first)")
    .option("--metadata <name=value>", "of --batch: kept with each (repeatable)", collect)
    .option(
      "--cron <pattern>",
      "the times: minute hour day month weekday; with six fields the seconds come first",
    )
    .option("--every-ms <ms>", "or the time between ticks, which fall on its multiples", number(0))
    .option("--timezone <name>", "of --cron, such as Europe/Berlin (default: UTC)")
    .addOption(new Option("--input <text>", "what the workflow works on").conflicts("inputJson"))
    .option("--input-json <json>", "its whole input as JSON")
    .option("--input-file <file>", "the text of --input from a file; - is standard input")
    .option("--config <file>", "a JSON file with the workflow's options")
    .option(...MODULE_OPTION)
    .option("-m, --model <provider:model>", "of calls that name none (default: DEFAULT_MODEL)")
    .addOption(
      new Option("--overlap <policy>", "a tick while an earlier run is on").choices([
        "skip",
        "queue",
        "allow",
      ]),
    )
    .addOption(
      new Option("--catch-up <policy>", "ticks at whose time no worker was there").choices([
        "none",
        "last",
        "all",
      ]),
    )
    .option("--max-catch-up <n>", "the most that --catch-up all brings back (default: 100)", integer(1, 1000))
    .option("--priority <n>", "of the runs: lower comes first", integer(0, 2_097_151))
    .option("--deadline <seconds>", "within which each run must end", number(0.001))
    .option("--tag <tag>", "by which the runs are listed (repeatable)", collect)
    .option(...JSON_OPTION)
    .action(createSchedule);
}

async function createSchedule(id: string, given: CreateOptions): Promise<void> {
  const {
    workflow: name,
    batch: inputPath,
    window,
    endpoint,
    metadata,
    module,
    model,
    deadline,
    tag,
    json,
    config,
    input: text,
    inputFile,
    inputJson,
    ...rest
  } = given;
  const modules = await loadModules(module ?? []);
  const found = name === undefined ? undefined : namedWorkflow(name, modules);
  const settings = loadSettings();
  await using client = new GlueLLM({
    ...{ mode: "fleet", settings, workflows: modules.workflows },
    ...(model !== undefined && { model }),
    tools: [...modules.tools.values()],
  });
  let input: unknown;
  if (found) {
    const read = () =>
      withAgents(found, readWorkflowInput(found, { input: text, inputFile, config }), modules.agents);
    input = inputJson === undefined ? read() : parseJson(inputJson, "--input-json");
  }
  const created = await client.schedules.create({
    ...{ id, ...rest },
    ...(found && { workflow: found, input }),
    ...(inputPath !== undefined && { batch: batchOf(inputPath, { window, endpoint, metadata }) }),
    ...(deadline !== undefined && { deadlineMs: Math.ceil(deadline * 1000) }),
    ...(tag && { tags: tag }),
  });
  print(
    `${json ? jsonText(created) : `schedule ${id} ticks next at ${created.nextRun?.toISOString() ?? "no time: it is paused"}`}\n`,
  );
}

function batchOf(
  inputPath: string,
  { window, endpoint, metadata }: Pick<CreateOptions, "window" | "endpoint" | "metadata">,
): ScheduledBatch {
  return {
    inputPath,
    ...(window !== undefined && { window }),
    ...(endpoint !== undefined && { endpoint: endpoint as NonNullable<ScheduledBatch["endpoint"]> }),
    ...(metadata && { metadata: namedValues(metadata) }),
  };
}
