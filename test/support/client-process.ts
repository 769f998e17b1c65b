/**
 * A process of its own that opens a job's handle by its id and prints what it gets: `client-process.ts <job id>`.
 * Without an id it asks through the shared client, and ends when that has closed by itself.
 */
import { complete, GlueError, GlueLLM, InvalidRequestError } from "../../src/index.ts";

const [id] = process.argv.slice(2);
if (id === undefined) {
  console.log(JSON.stringify(await complete("from the shared client")));
} else {
  await using glue = new GlueLLM({ mode: "fleet" });
  const answer = await glue
    .handle(id)
    .result()
    .catch((error: unknown) => ({
      isInvalidRequest: error instanceof InvalidRequestError,
      code: error instanceof GlueError && error.code,
    }));
  console.log(JSON.stringify(answer));
}
