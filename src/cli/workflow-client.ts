import { GlueLLM } from "../client/glue-llm.ts";
import type { WorkflowHandle } from "../client/workflow-handle.ts";
import { InputError, JobLostError } from "../shared/errors.ts";

/** Prints what is to be said of the fleet's runs. */
export async function withClient(action: (client: GlueLLM) => Promise<string>): Promise<void> {
  await using client = new GlueLLM({ mode: "fleet" });
  process.stdout.write(`${await action(client)}\n`);
}

/** As `withClient`, for one run. @throws InputError when there is none of this id */
export function withRun(
  id: string,
  action: (run: WorkflowHandle, client: GlueLLM) => Promise<string>,
): Promise<void> {
  return withClient(async (client) => {
    try {
      return await action(client.workflows.open(id), client);
    } catch (error) {
      if (!(error instanceof JobLostError)) throw error;
      throw new InputError(`no run ${id}`, "gluellm workflow list --runs shows the ids of the last 30 days");
    }
  });
}
