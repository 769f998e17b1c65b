import { Command } from "commander";
import { COMMANDS } from "../../src/cli/commands.ts";
import { settingsSchema } from "../../src/shared/settings-schema.ts";

/* Whether what a document or a file of a deployment tells a reader, or a machine, to type exists. */

/** Read before the schema, of the tests, or misspelt in an example. */
const OTHER_VARIABLES = /^(ALLOW_ENV_FILE_BASE_URL|PROVIDERS|TRUST_ENV_FILE|TEST_\w+|CACHE_TLL)$/;
/** Stands for any command, as in `gluellm workflow …`. */
const ANY = /^[[(<]?(…|\.\.\.|·)/;

/** Whether `GLUELLM_` and the name is a variable that is read. */
export function isSetting(name: string): boolean {
  return name in settingsSchema.shape || OTHER_VARIABLES.test(name);
}

/** Returns what is wrong with commands, each given as the words after `gluellm`; empty: the program has them with all their options. */
export async function commandFaults(commands: readonly string[]): Promise<string[]> {
  const program = new Command("gluellm");
  for (const { add } of COMMANDS) await add(program);
  return commands.map((words) => faultOf(program, words)).filter((fault) => fault !== undefined);
}

/** Returns what is wrong with a command; undefined when the program has it with all its options. */
function faultOf(program: Command, words: string): string | undefined {
  const shown = words.replace(/\s+#.*$/, "").split(/ [|>] | && /)[0] ?? "";
  const tokens = shown.replaceAll(/'[^']*'|"[^"]*"/g, "TEXT").split(/\s+/);
  let command = program;
  const chain = [program];
  for (const token of tokens) {
    if (ANY.test(token)) return;
    const next = command.commands.find((one) => one.name() === token || one.aliases().includes(token));
    if (!next) break;
    command = next;
    chain.push(next);
  }
  // Of a command that runs one of its own when none is named, such as `rollout`.
  if (command !== program && command.options.length === 0) chain.push(...command.commands);
  const isHelp = /^(--help|--version)$/.test(tokens[0] ?? "");
  if (command === program && !isHelp) return `gluellm ${words}: there is no such command`;
  const options = chain.flatMap((one) => one.options).flatMap(({ long, short }) => [long, short]);
  for (const token of tokens) {
    const [, name] = /^[[(]*(--?[a-z][\w-]*)/.exec(token) ?? [];
    if (name && !["--help", "-h", ...options].includes(name))
      return `gluellm ${words}: it has no option ${name}`;
  }
}
