import { Command, CommanderError } from "commander";
import { readVersion } from "../host/read-version.ts";
import { describeError, EXIT, exitCodeOf } from "./exit.ts";
import { guardOutput } from "./output.ts";

/** What adds commands to the program, in the order of the help, each with the commands that it adds. */
const MODULES: readonly { names: readonly string[]; add: (program: Command) => Promise<void> }[] = [
  { names: ["batch"], add: async (to) => (await import("./batch.ts")).addBatchCommands(to) },
  {
    names: ["up", "api", "worker", "dashboard"],
    add: async (to) => (await import("./serve.ts")).addServeCommands(to),
  },
  { names: ["keys"], add: async (to) => (await import("./keys.ts")).addKeysCommands(to) },
  { names: ["webhooks"], add: async (to) => (await import("./webhooks.ts")).addWebhooksCommands(to) },
  { names: ["queues"], add: async (to) => (await import("./queues.ts")).addQueuesCommand(to) },
  { names: ["top"], add: async (to) => (await import("./top/top.ts")).addTopCommand(to) },
  { names: ["workers"], add: async (to) => (await import("./workers.ts")).addWorkersCommand(to) },
  { names: ["doctor"], add: async (to) => (await import("./doctor/doctor.ts")).addDoctorCommand(to) },
  { names: ["errors"], add: async (to) => (await import("./errors.ts")).addErrorsCommand(to) },
  { names: ["complete"], add: async (to) => (await import("./complete.ts")).addCompleteCommand(to) },
  { names: ["chat"], add: async (to) => (await import("./chat.ts")).addChatCommand(to) },
  { names: ["workflow"], add: async (to) => (await import("./workflow.ts")).addWorkflowCommands(to) },
  { names: ["schedule"], add: async (to) => (await import("./schedule.ts")).addScheduleCommands(to) },
  { names: ["dlq"], add: async (to) => (await import("./dead-letters.ts")).addDeadLetterCommands(to) },
  { names: ["history"], add: async (to) => (await import("./history.ts")).addHistoryCommands(to) },
  {
    names: ["test-completion", "test-tool-call"],
    add: async (to) => (await import("./self-test.ts")).addSelfTestCommands(to),
  },
  {
    names: ["test-iterative-workflow", "test-pipeline-workflow", "test-debate-workflow"],
    add: async (to) => (await import("./self-test-workflows.ts")).addWorkflowTestCommands(to),
  },
  { names: ["simulate"], add: async (to) => (await import("./simulate.ts")).addSimulateCommand(to) },
  { names: ["quickstart"], add: async (to) => (await import("./quickstart.ts")).addQuickstartCommand(to) },
];

/** A command that is named is loaded alone, and the version needs none: a process starts sooner. The help needs all. */
async function addCommands(): Promise<void> {
  const word = process.argv[2];
  if (word === "--version" || word === "-V") return;
  const named = MODULES.filter(({ names }) => names.some((name) => name === word));
  for (const { add } of named.length > 0 ? named : MODULES) await add(program);
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
  .exitOverride();

/** A command that has ended closes what it opened at once; a connection that will not close must not keep it. */
const LINGER_MS = 3000;

guardOutput();
// Before settings are read: Node's own form of a warning is for programmers.
process.removeAllListeners("warning");
process.on("warning", ({ name, message }) =>
  process.stderr.write(`${name === "GlueLLMWarning" ? "warning" : `(node) ${name}`}: ${message}\n`),
);
try {
  await addCommands();
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.input;
  } else {
    process.stderr.write(`${describeError(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
setTimeout(() => process.exit(), LINGER_MS).unref();
