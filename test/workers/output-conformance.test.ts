import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type OutputSchema, parseOutput, toOutputSpec } from "../../src/calls/output-schema.ts";
import { createAdapter } from "../../src/providers/create-adapter.ts";
import type { ProviderAdapter } from "../../src/providers/provider.ts";
import type { ChatRequest } from "../../src/shared/chat.ts";
import type { Dialect } from "../../src/shared/providers.ts";
import { instanceOf } from "../../src/simulator/schema-instance.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { readOutput } from "../../src/workers/output/read-output.ts";
import { repairMessages } from "../../src/workers/output/repair-messages.ts";
import { requestOutput } from "../../src/workers/output/request-output.ts";
import { callOf, chat, DIALECTS, goodBody, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const Tree = z.object({
  label: z.string(),
  get children() {
    return z.array(Tree);
  },
});
const Chain = z.object({
  depth: z.int(),
  get next() {
    return Chain.nullable();
  },
});

/** What callers ask for, and what the simulator's least answer to it is. */
const SCHEMAS: [string, z.ZodType, unknown][] = [
  ["nested objects", z.object({ a: z.object({ b: z.object({ c: z.int() }) }) }), { a: { b: { c: 0 } } }],
  [
    "lists",
    z.object({ l: z.array(z.object({ n: z.string() })).min(2) }),
    { l: [...two({ n: "simulated" })] },
  ],
  [
    "optional and nullable",
    z.object({ a: z.string().optional(), b: z.string().nullable() }),
    { b: "simulated" },
  ],
  [
    "unions",
    z.object({ u: z.union([z.object({ k: z.literal("x"), n: z.int() }), z.string()]) }),
    { u: { k: "x", n: 0 } },
  ],
  ["records", z.object({ r: z.record(z.string(), z.int()) }), { r: {} }],
  ["records by an enum", z.record(z.enum(["x", "y"]), z.int().min(1)), { x: 1, y: 1 }],
  ["enums and literals", z.object({ e: z.enum(["p", "q"]), l: z.literal(7) }), { e: "p", l: 7 }],
  [
    "bounds",
    z.object({ n: z.number().gt(2).max(3), s: z.string().min(12).max(14) }),
    { n: 2.5, s: "simulated..." },
  ],
  ["patterns", z.object({ p: z.string().regex(/^(?:AB|CD)-\d{4,6}[x-z]?$/) }), { p: "AB-0000" }],
  [
    "dates",
    z.object({ d: z.iso.date(), t: z.iso.datetime(), u: z.uuid() }),
    expect.objectContaining({ d: "2000-01-01" }),
  ],
  [
    "addresses",
    z.object({ e: z.email(), u: z.url(), ip: z.ipv4() }),
    expect.objectContaining({ ip: "127.0.0.1" }),
  ],
  ["a tree", Tree, { label: "simulated", children: [] }],
  ["a chain", Chain, { depth: 0, next: null }],
  ["tuples", z.object({ t: z.tuple([z.string(), z.int()]) }), { t: ["simulated", 0] }],
  ["open objects", z.looseObject({ a: z.boolean() }), { a: false }],
  ["a list at the root", z.array(z.object({ a: z.int() })).min(1), [{ a: 0 }]],
  ["a text at the root", z.string().min(3), "simulated"],
  ["a number at the root", z.int().min(4), 4],
  ["a union at the root", z.discriminatedUnion("k", [z.object({ k: z.literal("a") })]), { k: "a" }],
  ["a recursive list at the root", z.array(Tree).min(1), [{ label: "simulated", children: [] }]],
];

function two<T>(item: T): T[] {
  return [item, item];
}

const MODES = ["native", "tool", "prompt"] as const;

describe.each(DIALECTS)("a structured answer over the %s dialect", (dialect) => {
  let simulator: Simulator;
  let adapter: ProviderAdapter;
  beforeAll(async () => {
    simulator = await startSimulator({ latencyMs: 0, jitterMs: 0 });
    adapter = createAdapter(testEntry(dialect, simulator.url));
  });
  afterAll(async () => {
    await adapter.close();
    await simulator.close();
  });

  describe.each(MODES)("in mode %s", (mode) => {
    it.each(SCHEMAS)("brings %s", async (_name, schema, least) => {
      const spec = { ...toOutputSpec(schema), mode };
      // Nothing tells the simulator of a schema in a prompt.
      const said =
        mode === "prompt" ? `\n#sim ${JSON.stringify({ reply: fenced(instanceOf(spec.schema)) })}` : "";
      const asked = requestOutput({ dialect }, chat(`Fill it in.${said}`), spec);
      const { body } = await adapter.complete(callOf(dialect, asked.request));
      const reading = readOutput(body, spec, asked.mode);
      expect(reading).toMatchObject({ ok: true });
      const value = reading.ok ? reading.value : undefined;
      expect(value).toEqual(least);
      expect(await parseOutput(schema, value)).toEqual(least);
    });

    it("is repaired in the next round", async () => {
      const schema = z.object({ price: z.number().min(1), note: z.string() });
      const spec = { ...toOutputSpec(schema, { name: "offer" }), mode };
      const turns = [{ json: { price: -1 } }, { json: { price: 5, note: "fine" } }];
      const asked = requestOutput(
        { dialect },
        chat(`Make an offer.\n#sim ${JSON.stringify({ turns })}`),
        spec,
      );
      const first = await adapter.complete(callOf(dialect, asked.request));
      const reading = readOutput(first.body, spec, asked.mode);
      expect(reading).toMatchObject({
        ok: false,
        fault: "invalid",
        problem: "at /: must have required property 'note'\nat /price: must be >= 1",
      });
      const problem = reading.ok ? "" : reading.problem;
      const messages = [
        ...asked.request.messages,
        ...repairMessages(first.body, problem, asked.mode, spec.name),
      ];
      const second = await adapter.complete(callOf(dialect, { ...asked.request, messages }));
      expect(readOutput(second.body, spec, asked.mode)).toMatchObject({
        ok: true,
        value: { price: 5, note: "fine" },
      });
    });

    it("tells an answer that was cut off", async () => {
      const spec = { ...toOutputSpec(z.object({ text: z.string().min(400) })), mode };
      const asked = requestOutput(
        { dialect },
        chat('Write.\n#sim {"reply":"{\\"text\\":","finish":"length"}'),
        spec,
      );
      const { body } = await adapter.complete(callOf(dialect, asked.request));
      expect(readOutput(body, spec, asked.mode)).toMatchObject({ ok: false, fault: "truncated" });
    });
  });
});

describe("what is asked of the provider", () => {
  const schema = z.object({
    price: z.number().min(0).describe("in euros"),
    code: z.string().regex(/^(?=A)[A-Z]+$/),
  });

  it("is strict JSON Schema on OpenAI, descriptions and bounds included", async () => {
    expect(await sentBy("openai", schema)).toMatchObject({
      response_format: {
        type: "json_schema",
        json_schema: {
          name: "answer",
          strict: true,
          schema: {
            additionalProperties: false,
            properties: { price: { minimum: 0, description: "in euros" }, code: { type: "string" } },
          },
        },
      },
    });
  });

  it("is what Anthropic's API knows, the rest in the descriptions", async () => {
    const sent = await sentBy("anthropic", schema);
    expect(sent).toMatchObject({
      output_config: {
        format: {
          type: "json_schema",
          schema: {
            additionalProperties: false,
            properties: {
              price: { type: "number", description: 'in euros\nJSON Schema: {"minimum":0}' },
              code: { description: 'JSON Schema: {"pattern":"^(?=A)[A-Z]+$"}' },
            },
          },
        },
      },
    });
    expect(sent).not.toHaveProperty("tools");
  });

  it("is the whole schema without a promise where OpenAI's strict mode cannot say it, but for lookaround", async () => {
    const sent = await sentBy("openai", z.object({ r: z.record(z.string(), z.string().regex(/^(?!a)/)) }));
    expect(sent.response_format).toMatchObject({
      json_schema: {
        strict: false,
        schema: {
          properties: {
            r: { additionalProperties: { type: "string", description: 'JSON Schema: {"pattern":"^(?!a)"}' } },
          },
        },
      },
    });
    expect(JSON.stringify(sent)).not.toContain('"pattern":"^(?!a)"}}');
  });

  it("is a forced tool call on Anthropic where its native mode cannot say the schema", async () => {
    const sent = await sentBy("anthropic", z.record(z.string(), z.int()).describe("Prices by name."));
    expect(sent).not.toHaveProperty("output_config");
    expect(sent).toMatchObject({
      tools: [
        {
          name: "answer",
          description: "Gives the final answer. Prices by name.",
          input_schema: { type: "object", additionalProperties: { type: "integer" } },
        },
      ],
      tool_choice: { type: "tool", name: "answer" },
    });
  });

  it("leaves the request's own tools their turns in mode tool", async () => {
    const tools = [{ type: "function", function: { name: "search", parameters: { type: "object" } } }];
    const spec = { ...toOutputSpec(schema), mode: "tool" as const };
    const { request } = requestOutput({ dialect: "openai" }, chat("Hi", { tools }), spec);
    expect(request).toMatchObject({
      tools: [tools[0], { function: { name: "answer" } }],
      tool_choice: "required",
    });
    const clash = () =>
      requestOutput({ dialect: "openai" }, chat("Hi", { tools }), { ...spec, name: "search" });
    expect(clash).toThrow('are both called "search"');
  });

  it("joins the first system message in mode prompt, and is one where there is none", () => {
    const spec = { ...toOutputSpec(schema), mode: "prompt" as const };
    const system = { role: "system" as const, content: "Be brief." };
    const ask = (request: ChatRequest) =>
      requestOutput({ dialect: "openai" }, request, spec).request.messages;
    const joined = ask({ messages: [system, { role: "user", content: "Hi" }] });
    expect(joined).toHaveLength(2);
    expect(joined[0]?.content).toMatch(/^Be brief\.\n\nAnswer with one JSON value .*\n\{"type":"object"/s);
    expect(ask(chat("Hi")).map(({ role }) => role)).toEqual(["system", "user"]);
  });

  it("comes in the spec's mode, else in the entry's", () => {
    const spec = toOutputSpec(schema);
    const modeOf = (entry: Parameters<typeof requestOutput>[0], changes = {}) =>
      requestOutput(entry, chat("Hi"), { ...spec, ...changes }).mode;
    expect(modeOf({ dialect: "openai" })).toBe("native");
    expect(modeOf({ dialect: "openai", structuredOutput: "prompt" })).toBe("prompt");
    expect(modeOf({ dialect: "openai", structuredOutput: "prompt" }, { mode: "tool" })).toBe("tool");
  });
});

/** The body that an adapter posts for a schema. */
async function sentBy(dialect: Dialect, schema: OutputSchema): Promise<Record<string, unknown>> {
  const server = await wireServer((response) => sendJson(response, goodBody(dialect)));
  const adapter = testAdapter(testEntry(dialect, server.url));
  const { request } = requestOutput({ dialect }, chat("Hi"), toOutputSpec(schema));
  await adapter.complete(callOf(dialect, request));
  return JSON.parse(server.requests[0]?.body ?? "") as Record<string, unknown>;
}

function fenced(value: unknown): string {
  return `Here you are:\n\`\`\`json\n${JSON.stringify(value, null, 2)}\n\`\`\``;
}
