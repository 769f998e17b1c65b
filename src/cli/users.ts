import type { Command } from "commander";
import { InputError } from "../shared/errors.ts";
import { ROLES } from "../shared/scopes.ts";
import { loadSettings } from "../shared/settings.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import type { Store } from "../store/store.ts";
import { listUsers, removeUser, saveUser, type User } from "../store/user.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { openRedis } from "./compose.ts";
import { table } from "./options.ts";
import { jsonText, print } from "./output.ts";

/** `gluellm users list|set|remove`: roles of those who come by single sign-on. */
export function addUsersCommands(program: Command): void {
  const users = program.command("users").description("Roles of those who come by single sign-on.");
  users
    .command("list")
    .description("Show the users who have a role of their own.")
    .option("--json", "as JSON")
    .action(({ json }) => withStore((store) => list(store, json)));
  users
    .command("set <user>")
    .description("Give a user a role, which holds from the next request on.")
    .requiredOption("--role <name>", Object.keys(ROLES).join(", "))
    .option("--tenant <name>", "whose jobs it is for", DEFAULT_TENANT)
    .action((user: string, options: { role: string; tenant: string }) =>
      withStore(async (store) => print(`${textOf(await saveUser(store, user, options))}\n`)),
    );
  users
    .command("remove <user>")
    .description("Take a user's role away.")
    .action((user: string) => withStore((store) => remove(store, user)));
}

async function withStore(work: (store: Store) => Promise<void>): Promise<void> {
  const settings = loadSettings();
  await using host = await openRedis(settings, loggerOf(settings, "error"));
  await work(host.store);
}

async function list(store: Store, json: boolean | undefined): Promise<void> {
  const users = await listUsers(store);
  if (json) return print(`${jsonText(users)}\n`);
  if (users.length === 0) return print("no user has a role; gluellm users set NAME --role viewer\n");
  const rows = users.map(({ user, role = "damaged: set it anew", tenant = "" }) => [user, role, tenant]);
  print(`${table([["user", "role", "tenant"], ...rows])}\n`);
}

async function remove(store: Store, user: string): Promise<void> {
  if (!(await removeUser(store, user)))
    throw new InputError(`user "${user}" has no role`, "gluellm users list shows those who have one");
  process.stderr.write(`${user} has no role of its own any more\n`);
}

function textOf({ user, role, tenant }: User): string {
  return `${user}: ${role} of the tenant ${tenant}`;
}
