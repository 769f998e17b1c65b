import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { GlueLLM } from "../../src/index.ts";
import { TestSite } from "./site.ts";
import { openClient } from "./site-client.ts";
import { sendJson, type WireServer, wireServer } from "./wire-server.ts";

/** A call as the provider sees it. */
export interface OddCall {
  prompt: string;
  model: string;
  /** Which call of this prompt it is, and which of all, from 1. */
  ofPrompt: number;
  ofAll: number;
}

/** What it answers: a good answer, a status (with a body and headers), a page, a cut connection, no answer at all. */
export type OddAnswer =
  | "fine"
  | "drop"
  | "hang"
  | { status: number; body: unknown; headers?: Record<string, string> };

/** An account at a provider that answers as the test says, and a client whose own worker calls it. */
export interface OddSite extends AsyncDisposable {
  site: TestSite;
  glue: GlueLLM;
  calls: OddCall[];
  server: WireServer;
  /** Writes one row per prompt, runs them as a batch, and returns its report. */
  batch: (prompts: readonly string[], rest?: { models?: readonly string[] }) => ReturnType<typeof runBatch>;
}

/** Opens such a site; everything ends with it. */
export async function oddSite(
  answer: (call: OddCall) => OddAnswer | Promise<OddAnswer>,
  env: Record<string, string> = {},
): Promise<OddSite> {
  const parts = new AsyncDisposableStack();
  const calls: OddCall[] = [];
  const times = new Map<string, number>();
  const server = await wireServer(
    async (response, { body }, socket) => {
      const { model, messages } = JSON.parse(body) as { model: string; messages: { content: string }[] };
      const prompt = messages.at(-1)?.content ?? "";
      times.set(prompt, (times.get(prompt) ?? 0) + 1);
      const call = { prompt, model, ofPrompt: times.get(prompt) ?? 0, ofAll: calls.length + 1 };
      calls.push(call);
      send(response, socket, await answer(call));
    },
    (close) => parts.defer(close),
  );
  const site = parts.use(
    await TestSite.open(
      {},
      {
        GLUELLM_PROVIDERS: JSON.stringify({
          odd: { baseUrl: `${server.url}/v1`, keyOptional: true, models: ["*"] },
        }),
        GLUELLM_RETRY_MIN_WAIT: "0.01",
        GLUELLM_RETRY_MAX_WAIT: "0.02",
        ...env,
      },
    ),
  );
  const glue = openClient(site, { mode: "local", model: "odd:a" });
  parts.defer(() => glue.close());
  return {
    site,
    glue,
    calls,
    server,
    batch: (prompts, rest) => runBatch(site, glue, prompts, rest),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

async function runBatch(
  site: TestSite,
  glue: GlueLLM,
  prompts: readonly string[],
  { models = [] }: { models?: readonly string[] } = {},
) {
  const rows = prompts.map((prompt, i) => ({ custom_id: prompt, prompt, model: models[i] ?? "odd:a" }));
  const options = { inputPath: site.write("in.jsonl", rows), outputPath: site.path("out.jsonl") };
  return (await glue.batches.run(options)).report();
}

function send(response: ServerResponse, socket: Socket, answer: OddAnswer): void {
  if (answer === "drop") socket.destroy();
  else if (answer === "fine") sendJson(response, FINE);
  else if (answer !== "hang") sendJson(response, answer.body, answer.status, answer.headers);
}

const FINE = {
  id: "c1",
  object: "chat.completion",
  created: 1,
  model: "a",
  choices: [{ index: 0, message: { role: "assistant", content: "fine" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
};

/** A paid answer without a choice. */
export const NO_CHOICE: OddAnswer = { status: 200, body: { ...FINE, choices: [] } };
