import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTool, toolError, toolFile, toolImage } from "../../src/index.ts";
import type { Message } from "../../src/shared/chat.ts";
import { toToolMessage } from "../../src/workers/tool-calls.ts";
import { toOutcome } from "../../src/workers/tool-output.ts";
import { calling } from "../support/mcp-site.ts";
import { callOf, dialectOf, goodBody, testAdapter, testEntry, type Wire } from "../support/provider.ts";
import { CLAUDE_MODEL, MODEL, NATIVE_MODEL, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const PNG = Buffer.from("png").toString("base64");
const PDF = Buffer.from("%PDF").toString("base64");
const image = toolImage(Buffer.from("png"), "image/png");
const file = toolFile(PDF, "application/pdf", "bill.pdf");

describe("what a tool returns", () => {
  test("is a text, JSON, parts, or an error; what is too long or too large is cut or left out, and said so", () => {
    expect(toOutcome("text\u0000", 100, 100)).toEqual({ result: "text" });
    expect(toOutcome({ a: 1 }, 100, 100)).toEqual({ result: '{"a":1}' });
    expect(toOutcome(["no", "parts"], 100, 100)).toEqual({ result: '["no","parts"]' });
    expect(toOutcome(["As asked:", { n: 1 }, image], 100, 100)).toEqual({
      result: 'As asked:\n{"n":1}',
      parts: [{ type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } }],
    });
    expect(toOutcome([image, file], 100, PNG.length)).toEqual({
      result: "[file left out: 8 bytes as base64, and there is room for 0]",
      parts: [expect.objectContaining({ type: "image_url" })],
    });
    expect(toOutcome(["x", toolError("no such city")], 100, 100)).toEqual({
      error: { code: "tool_failed", message: "no such city" },
    });
    expect(toOutcome(toolError("x".repeat(5000), "odd"), 100, 100)).toMatchObject({
      error: { code: "odd", message: expect.stringContaining("cut off") },
    });
    expect(() => toolImage("x", "application/pdf")).toThrow(/not the type of an image/);
  });

  const told: Message[] = [
    { role: "user", content: "Draw." },
    {
      role: "assistant",
      content: null,
      tool_calls: [
        { id: "call_1", type: "function", function: { name: "draw", arguments: "{}" } },
        { id: "call_2", type: "function", function: { name: "draw", arguments: "{}" } },
      ],
    },
    toToolMessage({
      turn: 0,
      callId: "call_1",
      toolName: "draw",
      arguments: {},
      durationMs: 1,
      ...toOutcome(["Here:", image, file], 100, 100),
    }),
    toToolMessage({
      turn: 0,
      callId: "call_2",
      toolName: "draw",
      arguments: {},
      durationMs: 1,
      ...toOutcome("plain", 100, 100),
    }),
  ];
  const url = `data:image/png;base64,${PNG}`;
  const pdf = { filename: "bill.pdf", file_data: `data:application/pdf;base64,${PDF}` };
  test.each<[Wire, unknown[]]>([
    [
      "openai",
      [
        { role: "tool", tool_call_id: "call_1", content: [{ type: "text", text: "Here:" }] },
        { role: "tool", tool_call_id: "call_2", content: "plain" },
        {
          role: "user",
          content: [
            { type: "text", text: "Brought by the tool call call_1:" },
            { type: "image_url", image_url: { url } },
            { type: "file", file: pdf },
          ],
        },
      ],
    ],
    [
      "responses",
      [
        {
          type: "function_call_output",
          call_id: "call_1",
          output: [
            { type: "input_text", text: "Here:" },
            { type: "input_image", image_url: url },
            { type: "input_file", ...pdf },
          ],
        },
        { type: "function_call_output", call_id: "call_2", output: "plain" },
      ],
    ],
    [
      "anthropic",
      [
        {
          role: "user",
          content: [
            {
              type: "tool_result",
              tool_use_id: "call_1",
              content: [
                { type: "text", text: "Here:" },
                { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
                {
                  type: "document",
                  source: { type: "base64", media_type: "application/pdf", data: PDF },
                  title: "bill.pdf",
                },
              ],
            },
            { type: "tool_result", tool_use_id: "call_2", content: [{ type: "text", text: "plain" }] },
          ],
        },
      ],
    ],
  ])("goes to each provider as it takes it: %s", async (wire, expected) => {
    const server = await wireServer((response) => sendJson(response, goodBody(dialectOf(wire))));
    const adapter = testAdapter(testEntry(wire, server.url));
    // The answer's form does not matter here.
    await adapter.complete(callOf(wire, { messages: told })).catch(() => {});
    const body = JSON.parse(server.requests[0]?.body ?? "{}");
    expect((body.input ?? body.messages).slice(-expected.length)).toEqual(expected);
  });
});

test("an image of a tool is in the job's record, and a model of each dialect goes on from it", async () => {
  await using site = await TestSite.open();
  const draw = defineTool({
    name: "draw",
    description: "Draws.",
    parameters: z.object({}),
    execute: () => ["Here:", image],
  });
  await using glue = openClient(site, { mode: "local", tools: [draw] });
  for (const model of [MODEL, CLAUDE_MODEL, NATIVE_MODEL]) {
    const { finalResponse, toolExecutionHistory } = await glue.complete(calling(`of ${model}`, ["draw"]), {
      model,
    });
    expect(finalResponse, model).toBe("done");
    expect(toolExecutionHistory).toMatchObject([{ result: "Here:", parts: [{ type: "image_url" }] }]);
  }
});
