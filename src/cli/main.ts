import { Command, CommanderError } from "commander";
import { endCommandAct } from "../host/command-act.ts";
import { boundHeap, widenNewSpace } from "../host/heap-size.ts";
import { readVersion } from "../host/read-version.ts";
import { COMMANDS } from "./commands.ts";
import { guardOutput } from "./output.ts";

/** A command that is named is loaded alone, and the version needs none: a process starts sooner. The help needs all. */
async function addCommands(): Promise<void> {
  const word = process.argv[2];
  if (word === "--version" || word === "-V") return;
  const named = COMMANDS.filter(({ names }) => names.some((name) => name === word));
  for (const { add } of named.length > 0 ? named : COMMANDS) await add(program);
}

const program = new Command("gluellm")
  .description("Durable LLM jobs on Redis: enqueue and forget, share the account's limits, never pay twice.")
  .version(readVersion())
  .showHelpAfterError("(add --help for the options)")
  .addHelpText(
    "after",
    "\nExit codes: 0 all rows fine, 1 some rows failed, 2 usage or input, 3 configuration, authentication or account,\n4 the cost limit, " +
      "129/130/143 ended by a signal. Settings come from the environment and .env; .env.example lists them.",
  )
  .exitOverride()
  .hook("preAction", async (_program, command) => {
    widenNewSpace();
    (await import("./audited.ts")).planAct(command);
  });

/** A command that has ended closes what it opened at once; a connection that will not close must not keep it. */
const LINGER_MS = 3000;

boundHeap();
guardOutput();
// Before settings are read: Node's own form of a warning is for programmers.
process.removeAllListeners("warning");
process.on("warning", ({ name, message }) =>
  process.stderr.write(`${name === "GlueLLMWarning" ? "warning" : `(node) ${name}`}: ${message}\n`),
);
try {
  await addCommands();
  await program.parseAsync();
  await endCommandAct();
} catch (error) {
  // The version and a help end so too; what tells errors knows them all, and is loaded for them alone.
  if (!(error instanceof CommanderError && error.exitCode === 0)) {
    const { describeError, EXIT, exitCodeOf } = await import("./exit.ts");
    if (error instanceof CommanderError) process.exitCode = EXIT.input;
    else {
      process.stderr.write(`${describeError(error)}\n`);
      process.exitCode = exitCodeOf(error);
    }
  }
  await endCommandAct(error);
}
setTimeout(() => process.exit(), LINGER_MS).unref();
