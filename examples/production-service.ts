/**
 * A service for others: checked questions, limits for each caller, friendly errors, request ids in the log, an end that loses nothing.
 * In your project: `from "gluellm"`, and `npm install express express-rate-limit`.
 *
 *     node examples/production-service.ts 3000
 *     curl localhost:3000/ask -H 'Content-Type: application/json' -d '{"question": "Name a prime number above 100."}'
 */
import { randomUUID } from "node:crypto";
import express, { type ErrorRequestHandler } from "express";
import { rateLimit } from "express-rate-limit";
import { z } from "zod";
import { GlueError, GlueLLM, getLogger, withLogContext } from "../src/index.ts";

const questionSchema = z.object({ question: z.string().trim().min(1).max(4000) });

/** What a caller is told, by the error's category. What happened is for the log. */
const TOLD: Record<string, [status: number, text: string]> = {
  input: [400, "This cannot be answered as it is. Try a shorter question, or other words."],
  rate_limit: [503, "Too many questions at once. Try again in a minute."],
  connection: [503, "The model does not answer now. Try again in a minute."],
};
const OTHERWISE: [number, string] = [500, "Something is wrong on our side, and we were told."];

function toldOf(error: unknown): [status: number, text: string] {
  if (error instanceof GlueError) return TOLD[error.category] ?? OTHERWISE;
  // Express says so of a body that is too long, or no JSON.
  const { status = 500 } = error as { status?: number };
  return status < 500 ? [status, "This cannot be read as a question."] : OTHERWISE;
}

const log = getLogger("service");
const glue = new GlueLLM({ system: "You are brief." });
const app = express();
app.get("/health", (_request, response) => void response.json({ ok: true }));

app.use((_request, response, next) => {
  const requestId = randomUUID();
  response.set("x-request-id", requestId);
  withLogContext({ requestId }, next);
});
app.use(
  rateLimit({ windowMs: 60_000, limit: 20, message: { error: "Not so many questions a minute, please." } }),
);

app.post("/ask", express.json({ limit: "16kb" }), async (request, response) => {
  const asked = questionSchema.safeParse(request.body);
  if (!asked.success) return void response.status(400).json({ error: z.prettifyError(asked.error) });
  const { finalResponse, costUsd } = await glue.complete(asked.data.question, { maxCostUsd: 0.05 });
  log.info({ costUsd }, "answered");
  response.json({ answer: finalResponse });
});

const answerError: ErrorRequestHandler = (error, _request, response, _next) => {
  log.error({ err: error }, "a question was not answered");
  const [status, text] = toldOf(error);
  response.status(status).json({ error: text });
};
app.use(answerError);

const server = app.listen(Number(process.argv[2] ?? 3000), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as { port: number }).port}`);
});

process.once("SIGTERM", async () => {
  // No new questions; those under way are answered.
  await new Promise((closed) => server.close(closed));
  await glue.close();
});
