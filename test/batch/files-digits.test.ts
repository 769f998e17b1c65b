import { describe, expect, test } from "vitest";
import { rowDigest, rowId } from "../../src/batch/row-identity.ts";
import type { ChatRequest } from "../../src/shared/chat.ts";
import { readAll, resolveModel, writeInput } from "./files-fixture.ts";

const line = (body: string, id = '"c"') =>
  `{"custom_id":${id},"method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"x"}],${body}}}`;
const messages = [{ role: "user", content: "x" }];

async function onlyRow(text: string) {
  const { rows } = await readAll(writeInput([text]));
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

describe("numbers and keys of a row", () => {
  test.each([
    '"seed":6150769120280496265',
    '"temperature":1.0,"top_p":1e0,"max_tokens":100.0,"logit_bias":{"50256":-100.0,"7":1}',
    '"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"id":{"enum":[1990391500702712081,1990391500702712082],"maximum":9223372036854775807}}}}}]',
    '"metadata":{"__proto__":"a","constructor":"b"}',
    '"response_format":{"type":"json_schema","json_schema":{"schema":{"properties":{"zeta":{},"alpha":{},"10":{},"2":{}}}}}',
    '"seed":-0,"vendor":[1e400,-1E-400]',
  ])("go out as they were written: %s", async (fields) => {
    const { request } = await onlyRow(line(fields));
    expect(JSON.stringify(request)).toBe(`{"messages":${JSON.stringify(messages)},${fields}}`);
  });

  test("also those of a plain line", async () => {
    const fields = '"seed":9007199254740993,"temperature":0.50,"logit_bias":{"zz":1.0,"9":-0,"3":2}';
    const { request } = await onlyRow(`{"prompt":"x","ignored":1.0,${fields}}`);
    expect(JSON.stringify(request)).toContain('"seed":9007199254740993');
    expect(JSON.stringify(request)).toContain('"temperature":0.50');
    expect(JSON.stringify(request)).toContain('"logit_bias":{"zz":1.0,"9":-0,"3":2}');
  });

  test("rules hold for their doubles", async () => {
    const wrong = ['"temperature":3.0', '"temperature":1e400', '"max_tokens":1.50', '"n":0.0'];
    const { scan } = await readAll(writeInput(wrong.map((field, i) => line(field, String(i)))));
    expect(scan).toMatchObject({ rows: 4, malformed: 4 });
  });

  test("different integers are different rows; other spellings are the same one", async () => {
    const idOf = async (field: string) => (await onlyRow(line(field))).id;
    expect(await idOf('"seed":9007199254740993')).not.toBe(await idOf('"seed":9007199254740992'));
    const usual: ChatRequest = { messages: [{ role: "user", content: "x" }], temperature: 1, seed: 5 };
    const before = rowId(rowDigest(resolveModel("m"), usual), { customId: "c" }).toString("hex");
    expect(await idOf('"temperature":1.0,"seed":5e0')).toBe(before);
  });

  test("a custom_id may be any number", async () => {
    const ids = ["1990391500702712081", "1990391500702712082", "12", "1.0", "-7.50", "1e400"];
    const { rows } = await readAll(writeInput(ids.map((id) => `{"custom_id":${id},"prompt":"x"}`)));
    expect(rows.map(({ customId }) => customId)).toEqual([
      "1990391500702712081",
      "1990391500702712082",
      "12",
      "1",
      "-7.5",
      "1e400",
    ]);
  });

  test("nulls that some tools write for absent fields do not count", async () => {
    const row = `{"custom_id":"c","messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","text":null,"image_url":{"url":"http://x"}}],"tool_calls":null,"tool_call_id":null,"name":null}],"tools":null,"stop":null}`;
    const { request } = await onlyRow(row);
    expect(request).toEqual({
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "x" },
            { type: "image_url", image_url: { url: "http://x" } },
          ],
          name: null,
        },
      ],
    });
  });
});
