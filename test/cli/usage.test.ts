import { Command, CommanderError } from "commander";
import { expect, test } from "vitest";
import { COMMANDS } from "../../src/cli/commands.ts";

/* What is typed wrongly is told as such by every command: exit code 2, which commander alone would make 1. */

/** The words of every command that does something, with an argument for each that it requires. */
function wordsOf(command: Command, before: readonly string[] = []): string[][] {
  if (command.commands.length > 0)
    return command.commands.flatMap((sub) => wordsOf(sub, [...before, sub.name()]));
  return [[...before, ...command.registeredArguments.flatMap(({ required }) => (required ? ["x"] : []))]];
}

const program = new Command("gluellm").exitOverride().configureOutput({ writeErr: () => {} });
for (const { add } of COMMANDS) await add(program);
const all = wordsOf(program);

test("there are many commands", () => expect(all.length).toBeGreaterThan(80));

test.each(all.map((words) => [words.join(" "), words] as const))("%s", async (_, words) => {
  await expect(program.parseAsync([...words, "--no-such-option"], { from: "user" })).rejects.toThrow(
    CommanderError,
  );
});

test("a time that is none", async () => {
  const wrong = program.parseAsync(["history", "spend", "--since", "5x"], { from: "user" });
  await expect(wrong).rejects.toThrow(/It must be a time before now/);
});
