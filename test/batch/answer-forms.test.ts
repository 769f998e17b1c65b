import { describe, expect, test } from "vitest";
import { inFormat } from "../../src/batch/answer-forms.ts";
import { outputLine, parseOutputLine } from "../../src/batch/output-line.ts";
import { EMBEDDINGS } from "../../src/shared/chat.ts";
import { vectorToText } from "../../src/shared/vector-text.ts";
import { failure, success } from "./files-fixture.ts";

describe("lines of the output", () => {
  const row = { id: "0".repeat(32), customId: "c" };
  const called = (): ReturnType<typeof success> => {
    const record = success("hello");
    const calls = [
      { id: "t", type: "function" as const, function: { name: "f", arguments: '{"id":9007199254740993}' } },
    ];
    const [choice] = record.response!.body.choices;
    Object.assign(choice!.message, { tool_calls: calls });
    Object.assign(choice!, { finish_reason: "tool_calls" });
    return record;
  };

  test("embeddings have the form of their endpoint", () => {
    const record = success("");
    const body = { ...record.response!.body, object: EMBEDDINGS, model: "e" };
    Object.assign(body.choices[0]!.message, { content: vectorToText([0.1, -0.0023064255, 1]) });
    const line = JSON.parse(
      outputLine({ ...row, endpoint: "embeddings" }, { ...record, response: { ...record.response!, body } }),
    );
    expect(line.response.body).toEqual({
      object: "list",
      data: [{ object: "embedding", index: 0, embedding: [0.1, -0.0023064255, 1] }],
      model: "e",
      usage: { prompt_tokens: 10, total_tokens: 10 },
    });
  });

  test("a response of the provider's own stays as it is", () => {
    const record = success("x");
    const response = {
      id: "resp_1",
      object: "response",
      output: [],
      usage: { input_tokens: 3, output_tokens: 4 },
    };
    const body = { ...record.response!.body, response };
    const line = outputLine(
      { ...row, endpoint: "responses" },
      { ...record, response: { ...record.response!, body } },
    );
    expect(JSON.parse(line).response.body).toEqual(response);
    expect(parseOutputLine(line)?.tokens).toMatchObject({ prompt: 3, completion: 4, total: 7 });
  });

  test("responses have the form of their endpoint", () => {
    const line = outputLine({ ...row, endpoint: "responses" }, called());
    expect(JSON.parse(line).response.body).toMatchObject({
      object: "response",
      status: "completed",
      output: [
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "hello" }] },
        { type: "function_call", call_id: "t", name: "f", arguments: '{"id":9007199254740993}' },
      ],
      usage: { input_tokens: 10, output_tokens: 5, total_tokens: 15 },
    });
    expect(parseOutputLine(line)?.tokens).toMatchObject({ prompt: 10, completion: 5 });
  });

  test.each(["anthropic", "gemini"] as const)("in the form of %s, and read again", (format) => {
    const good = inFormat(outputLine(row, called()), format);
    const bad = inFormat(outputLine(row, failure({ status: 400 })), format);
    const cached = inFormat(outputLine(row, { ...called(), fromCache: true }), format);
    expect(good).toContain('{"id":9007199254740993}');
    expect(inFormat(good, format)).toBe(good);
    expect(parseOutputLine(good)).toMatchObject({
      ...{ id: row.id, format, customId: "c", failed: false, fromCache: false },
      tokens: { prompt: 10, completion: 5, total: 15 },
    });
    expect(parseOutputLine(bad)).toMatchObject({ id: row.id, format, customId: "c", failed: true });
    expect(parseOutputLine(cached)).toMatchObject({ fromCache: true, tokens: { total: 0 } });
    expect(bad).toContain("refused");
    const fields = JSON.parse(good);
    if (format === "anthropic") {
      expect(fields).toMatchObject({
        custom_id: "c",
        result: {
          type: "succeeded",
          message: {
            type: "message",
            stop_reason: "tool_use",
            content: [
              { type: "text", text: "hello" },
              { type: "tool_use", name: "f" },
            ],
          },
        },
      });
    } else {
      const parts = [{ text: "hello" }, { functionCall: { name: "f" } }];
      expect(fields).toMatchObject({
        key: "c",
        response: { candidates: [{ content: { role: "model", parts } }] },
      });
    }
  });
});
