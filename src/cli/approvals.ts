import type { Command } from "commander";
import type { GlueLLM } from "../client/glue-llm.ts";
import { table } from "./options.ts";
import { jsonText } from "./output.ts";
import { withClient } from "./workflow-client.ts";

const MAX_ARGUMENT_CHARS = 80;

interface Answer {
  by?: string;
  reason?: string;
}

/** `gluellm approvals list|approve|reject`. */
export function addApprovalCommands(program: Command): void {
  const approvals = program
    .command("approvals")
    .description("Calls of tools that wait for a person, and the answers to them.");
  approvals
    .command("list")
    .description("The calls that wait, those asked first in front.")
    .option("--json", "as JSON")
    .action((given: { json?: boolean }) => withClient((client) => list(client, given)));
  answering(approvals.command("approve").description("Allow a call; its job goes on.")).action(
    (jobId: string, callId: string, { by }: Answer) =>
      withClient(async (client) => {
        await client.handle(jobId).approve(callId, { by });
        return `approved ${callId} of ${jobId}`;
      }),
  );
  answering(approvals.command("reject").description("Forbid a call; its job goes on without it."))
    .option("--reason <text>", "why; the model reads it")
    .action((jobId: string, callId: string, { by, reason }: Answer) =>
      withClient(async (client) => {
        await client.handle(jobId).reject(callId, reason, { by });
        return `rejected ${callId} of ${jobId}`;
      }),
    );
}

function answering(command: Command): Command {
  return command
    .argument("<job>", "the job's id")
    .argument("<call>", "the call's name, as the list has it")
    .option("--by <name>", "who says so, for the job's history");
}

async function list(client: GlueLLM, { json }: { json?: boolean }): Promise<string> {
  const approvals = await client.approvals({ limit: 1000 });
  if (json) return jsonText(approvals);
  if (approvals.length === 0) return "nothing waits for a person";
  const rows = approvals.map(({ jobId, callId, toolName, arguments: args, expiresAt }) => [
    ...[jobId, callId, toolName, JSON.stringify(args ?? null).slice(0, MAX_ARGUMENT_CHARS)],
    new Date(expiresAt).toISOString(),
  ]);
  return table([["job", "call", "tool", "arguments", "until"], ...rows]);
}
