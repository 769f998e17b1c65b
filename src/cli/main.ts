import { Command, CommanderError } from "commander";
import { readVersion } from "../host/read-version.ts";
import { addBatchCommands } from "./batch.ts";
import { addChatCommand } from "./chat.ts";
import { addCompleteCommand } from "./complete.ts";
import { describeError, EXIT, exitCodeOf } from "./exit.ts";
import { addKeysCommands } from "./keys.ts";
import { guardOutput } from "./output.ts";
import { addQueuesCommand } from "./queues.ts";
import { addQuickstartCommand } from "./quickstart.ts";
import { addScheduleCommands } from "./schedule.ts";
import { addSelfTestCommands } from "./self-test.ts";
import { addWorkflowTestCommands } from "./self-test-workflows.ts";
import { addServeCommands } from "./serve.ts";
import { addSimulateCommand } from "./simulate.ts";
import { addWorkflowCommands } from "./workflow.ts";

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

addBatchCommands(program);
addServeCommands(program);
addKeysCommands(program);
addQueuesCommand(program);
addCompleteCommand(program);
addChatCommand(program);
addWorkflowCommands(program);
addScheduleCommands(program);
addSelfTestCommands(program);
addWorkflowTestCommands(program);
addSimulateCommand(program);
addQuickstartCommand(program);

/** A command that has ended closes what it opened at once; a connection that will not close must not keep it. */
const LINGER_MS = 3000;

guardOutput();
try {
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
