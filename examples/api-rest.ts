/**
 * The REST API, from a program that knows HTTP only: a job, a run of a workflow, and what the key has used.
 *
 *     npx gluellm api          # prints OPENAI_BASE_URL and OPENAI_API_KEY to paste
 *     node examples/api-rest.ts openai:gpt-4o-mini        # default: the server's DEFAULT_MODEL
 */
// biome-ignore lint/style/noProcessEnv: a program of its own, which knows the API only by its address and key.
const { OPENAI_BASE_URL = "http://127.0.0.1:4000/v1", OPENAI_API_KEY } = process.env;
const model = process.argv[2];

// biome-ignore lint/suspicious/noExplicitAny: what each call answers stands in /openapi.json.
async function call(path: string, body?: object, headers: Record<string, string> = {}): Promise<any> {
  const response = await fetch(new URL(path, OPENAI_BASE_URL), {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${OPENAI_API_KEY}`, "content-type": "application/json", ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (response.ok) return response.json();
  throw new Error(await response.text());
}

// The same key is the same job, however often this is run.
const message = "Name a prime number above 100.";
const job = await call("/api/jobs", { model, message }, { "idempotency-key": "prime-1" });
const { state, result, error } = await call(`/api/jobs/${job.id}/result?waitMs=60000`);
console.log(state, result?.finalResponse ?? error?.message);

const agent = { name: "writer", systemPrompt: "You write one sentence.", model };
const input = { input: "tides", stages: [{ name: "draft", agent }] };
const run = await call("/api/workflows/pipeline/runs", { input });
const output = await call(`/api/runs/${run.id}/result?waitMs=60000`);
console.log(output.state, (await call(`/api/runs/${run.id}/steps`)).data.length, "step");

const { requests, spentUsd } = await call("/api/usage");
console.log(requests > 0, spentUsd);
