import type { Command } from "commander";
import { GlueError, InputError } from "../shared/errors.ts";
import { loadSettings } from "../shared/settings.ts";
import { DEFAULT_TENANT, tenantSchema } from "../shared/tenant.ts";
import { loggerOf } from "../telemetry/logging.ts";
import type { Webhook, Webhooks } from "../webhooks/webhooks.ts";
import { openRedis } from "./compose.ts";
import { collect, number, table } from "./options.ts";
import { jsonText, print } from "./output.ts";

interface AddOptions {
  event?: string[];
  tenant: string;
  json?: boolean;
}

/** `gluellm webhooks add|list|show|remove|enable|test|replay|rotate`: whom to tell of what has ended. */
export function addWebhooksCommands(program: Command): void {
  const webhooks = program.command("webhooks").description("Who is told by HTTP of what has ended.");
  const json = ["--json", "as JSON"] as const;
  webhooks
    .command("add <url>")
    .description("Send a tenant's events there from now on; prints the secret of the signatures, once.")
    .option("--event <pattern>", "batch.*, job.failed … (repeatable; default: batch.*)", collect)
    .option("--tenant <name>", "whose events", DEFAULT_TENANT)
    .option(...json)
    .action((url: string, options: AddOptions) => withWebhooks((all) => add(all, url, options)));
  webhooks
    .command("list")
    .description("Show the webhooks with their last delivery, and how many are dead.")
    .option(...json)
    .action((options) => withWebhooks((all) => list(all, options.json)));
  webhooks
    .command("show <id>")
    .description("Show the latest tries of a webhook's deliveries, the latest first.")
    .option(...json)
    .action((id: string, options) => withWebhooks((all) => show(all, id, options.json)));
  webhooks
    .command("remove <id>")
    .description("Remove a webhook; what is under way to it is dropped.")
    .action((id: string) =>
      withWebhooks(async (all) => {
        await all.remove(id);
        print(`${id} is removed\n`);
      }),
    );
  webhooks
    .command("enable <id>")
    .description("Let a webhook that was disabled have events again.")
    .action((id: string) =>
      withWebhooks(async (all) => {
        await all.enable(id);
        print(`${id} is enabled\n`);
      }),
    );
  webhooks
    .command("test <id>")
    .description("Send an event webhook.test at once, from here; the exit code tells whether it was taken.")
    .action((id: string) => withWebhooks((all) => test(all, id)));
  webhooks
    .command("replay <id>")
    .description("Deliver again what is dead, under the old event ids.")
    .option("--event <id>", "only this event, evt_…, which may also be one of the latest tries")
    .action((id: string, { event }) =>
      withWebhooks(async (all) => print(`replayed ${await all.replay(id, event)}\n`)),
    );
  webhooks
    .command("rotate <id>")
    .description("Make a new secret and print it, once; both count for a time.")
    .option("--overlap-hours <n>", "how long the old secret counts beside it", number(0), 24)
    .option(...json)
    .action((id: string, { overlapHours, ...options }) =>
      withWebhooks(async (all) => tell(await all.rotate(id, overlapHours * 3_600_000), options.json)),
    );
}

async function withWebhooks(work: (webhooks: Webhooks) => Promise<void>): Promise<void> {
  const settings = loadSettings();
  const logger = loggerOf(settings, "error");
  await using host = await openRedis(settings, logger);
  const { Webhooks } = await import("../webhooks/webhooks.ts");
  await work(new Webhooks({ store: host.store, settings }));
}

async function add(
  webhooks: Webhooks,
  url: string,
  { event = ["batch.*"], tenant, json }: AddOptions,
): Promise<void> {
  const named = tenantSchema.safeParse(tenant);
  if (!named.success) throw new InputError(`the tenant's name ${named.error.issues[0]?.message}`);
  tell(await webhooks.add(named.data, url, event), json);
}

function tell({ id, secret }: Webhook & { secret: string }, json: boolean | undefined): void {
  if (!json)
    process.stderr.write(
      `This is the secret of ${id}, by which its receiver checks signatures; it is not shown again:\n`,
    );
  print(json ? `${jsonText({ id, secret })}\n` : `${secret}\n`);
}

async function list(webhooks: Webhooks, json: boolean | undefined): Promise<void> {
  const all = await webhooks.list();
  if (json) return print(`${jsonText(all)}\n`);
  const rows = all.map(({ id, tenant, url, events, state, disabledReason, dead, lastTry }) => [
    ...[id, tenant, url, events.join(",")],
    state === "enabled" ? state : `${state}: ${disabledReason ?? ""}`,
    lastTry ? `${lastTry.state} ${lastTry.at.toISOString()}` : "none yet",
    String(dead),
  ]);
  print(`${table([["id", "tenant", "url", "events", "state", "last try", "dead"], ...rows])}\n`);
}

async function show(webhooks: Webhooks, id: string, json: boolean | undefined): Promise<void> {
  const tries = await webhooks.tries(id);
  if (json) return print(`${jsonText({ ...(await webhooks.get(id)), tries })}\n`);
  const rows = tries.map(({ at, type, eventId, attempt, state, status, error, nextTryAt }) => [
    ...[at.toISOString(), eventId, type, String(attempt), state, String(status ?? ""), error ?? ""],
    nextTryAt?.toISOString() ?? "",
  ]);
  print(`${table([["at", "event", "type", "try", "state", "status", "why", "next try"], ...rows])}\n`);
}

async function test(webhooks: Webhooks, id: string): Promise<void> {
  const { status, error, durationMs } = await webhooks.test(id);
  if (error === undefined) return print(`the receiver took it: ${status} in ${durationMs} ms\n`);
  throw new GlueError({
    ...{ code: "webhook_refused", category: "connection" },
    message: `the receiver did not take the event: ${error}`,
    hint: "see that it is reached from here and answers 2xx within the time-out",
  });
}
