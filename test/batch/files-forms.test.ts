import { describe, expect, test } from "vitest";
import { readAll, scanError, writeInput } from "./files-fixture.ts";

const ROWS = [
  { custom_id: "g0", prompt: "good 0" },
  { custom_id: "g1", prompt: 'quote " and } and ,', temperature: 0.5 },
  { prompt: "ä\n😀", system: "s", seed: 7 },
];
const pretty = (row: unknown) => JSON.stringify(row, null, 2);
const crlf = (text: string) => text.replaceAll("\n", "\r\n");
const csvCell = (value: unknown) => (value === undefined ? "" : `"${String(value).replaceAll('"', '""')}"`);
const csv = (delimiter = ",", columns = ["custom_id", "prompt", "system", "temperature", "seed"]) =>
  [columns, ...ROWS.map((row) => columns.map((name) => csvCell((row as Record<string, unknown>)[name])))]
    .map((cells) => cells.join(delimiter))
    .join("\n");

async function rowsOf(text: string, options = {}) {
  const { rows, scan } = await readAll(writeInput(Buffer.from(text)), options);
  return { scan, rows: rows.map(({ customId, request }) => ({ customId, request })) };
}

describe("files of another form", () => {
  const forms: [string, string][] = [
    ["a JSON array on one line", JSON.stringify(ROWS)],
    ["a JSON array with a line end", `${JSON.stringify(ROWS)}\n\n`],
    ["a JSON array over several lines", pretty(ROWS)],
    ["an array with a row per line", `[\n${ROWS.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`],
    [
      "an array whose first row is on the line of its bracket",
      `[${ROWS.map((row) => JSON.stringify(row)).join(",\n")}]`,
    ],
    ["objects over several lines", ROWS.map(pretty).join("\n")],
    ["objects over several lines, with CRLF and a mark", `\ufeff${crlf(ROWS.map(pretty).join("\n"))}\n`],
    ["objects over several lines, with commas", ROWS.map(pretty).join(",\n")],
    ["CSV", csv()],
    [
      "CSV with CRLF, a mark and blank lines",
      `\ufeff${csv().replaceAll('"\n', '"\r\n').replace("\n", "\r\n")}\r\n\r\n`,
    ],
    ["CSV with semicolons", csv(";")],
    ["tabs", csv("\t")],
  ];

  test.each(forms)("%s", async (_, text) => {
    const lines = await rowsOf(ROWS.map((row) => JSON.stringify(row)).join("\n"));
    expect(await rowsOf(text)).toEqual(lines);
    expect(lines.scan).toMatchObject({ rows: 3, malformed: 0 });
  });

  test("rows larger than what is read at a time", async () => {
    const rows = [300_000, 5, 600_000].map((size, n) => ({ custom_id: `r${n}`, prompt: "}".repeat(size) }));
    const lines = await rowsOf(rows.map((row) => JSON.stringify(row)).join("\n"));
    expect(await rowsOf(pretty(rows))).toEqual(lines);
    expect(
      await rowsOf(`custom_id,prompt\n${rows.map((row) => `${row.custom_id},${row.prompt}`).join("\n")}`),
    ).toEqual(lines);
  });

  test("a first row over several lines that is larger than what is looked at", async () => {
    const rows = [
      { custom_id: "a", messages: [{ role: "user", content: "x".repeat(300_000) }] },
      { custom_id: "b", prompt: "y" },
    ];
    const compact = rows.map((row) => JSON.stringify(row).replace(",", ",\n"));
    for (const text of [pretty(rows), rows.map(pretty).join("\n"), compact.join("\n")]) {
      expect((await rowsOf(text)).rows.map(({ customId }) => customId)).toEqual(["a", "b"]);
    }
  });

  test("numbers of an array keep their digits; rows without a custom_id count", async () => {
    const { rows } = await rowsOf(
      '[\n{"prompt":"x","seed":9007199254740993},{"prompt":"y","temperature":1.0}]',
    );
    expect(JSON.stringify(rows)).toContain('"seed":9007199254740993');
    expect(JSON.stringify(rows)).toContain('"temperature":1.0');
    expect(rows.map(({ customId }) => customId)).toEqual(["line-1", "line-2"]);
  });

  test("a column of another name, texts that look like numbers, and lists", async () => {
    const text =
      'id,question,stop,messages,seed\n1,42,"[""a"",""b""]",ignored,9007199254740993\n2,007,END,,\n';
    const { rows } = await rowsOf(text, { promptField: "question" });
    expect(JSON.stringify(rows.map(({ request }) => request))).toBe(
      '[{"messages":[{"role":"user","content":"42"}],"stop":["a","b"],"seed":9007199254740993},' +
        '{"messages":[{"role":"user","content":"007"}],"stop":"END"}]',
    );
  });

  test("--input-format has the last word", async () => {
    const { rows } = await rowsOf('prompt\n"{""prompt"":""x""}"\n', { inputFormat: "csv" });
    expect(rows).toMatchObject([{ request: { messages: [{ content: '{"prompt":"x"}' }] } }]);
    expect(
      (await rowsOf(ROWS.map((row) => JSON.stringify(row)).join(" "), { inputFormat: "json" })).rows,
    ).toHaveLength(3);
  });
});

describe("a bad row among good ones", () => {
  test.each([
    ["first line", '{"prompt":\n{"prompt":"a"}\n{"prompt":"b"}', 1],
    ["a line that is an array", '["x"]\n{"prompt":"a"}\n{"prompt":"b"}', 1],
    ["a line of text", 'hello\n{"prompt":"a"}\n{"prompt":"b"}', 1],
    ["in an array", '[{"prompt":"a"},{"prompt":NaN},{"prompt":"b"}]', 2],
    ["in CSV", "prompt,seed\na,1\nb,2,3\nc,3", 2],
    ["not UTF-8", Buffer.concat([Buffer.from("prompt\na\n"), Buffer.from([0xff]), Buffer.from("\nc")]), 2],
  ])("%s is a failed row", async (_, text, line) => {
    const { scan, rows } = await readAll(writeInput(Buffer.from(text)));
    expect(scan).toMatchObject({ rows: 3, malformed: 1 });
    expect(rows.map((row) => row.line)).not.toContain(line);
    const { error } = await scanError(Buffer.from(text), { strict: true });
    expect(error.message).toMatch(/in\.jsonl:\d+/);
  });

  test("its place is the line of the file", async () => {
    const { error } = await scanError(Buffer.from('[\n{"prompt":"a"},\n\n{\n"prompt":NaN}]'), {
      strict: true,
    });
    expect(error.message).toContain("in.jsonl:4: row 2: ");
    expect(error.message).toContain("line 2 of the row, column 10");
    const records = await scanError(Buffer.from('prompt,n\n"a\nb",1\nc\n'), { strict: true });
    expect(records.error.message).toContain("in.jsonl:4: row 2: the row has 1 fields, the header has 2");
  });
});

describe("a file that is none of these is refused in one sentence", () => {
  test.each<[string, string, string, object?]>([
    [
      "text",
      "hello\nworld\n",
      "in.jsonl:1 is no JSON, and no line after it is a row: a value is expected, at column 1",
    ],
    [
      "broken lines",
      '\n{"prompt":NaN}\n{"prompt":NaN}\n',
      "in.jsonl:2 is no JSON, and no line after it is a row: NaN",
    ],
    ["Python's lines", "{'prompt': 'a'}\n{'prompt': 'b'}\n", "a single quote, at column 2"],
    ["a cut object", '{"prompt":"x"', "it breaks off, at column 14"],
    ["lists", '["a"]\n["b"]\n', "the first line is no JSON object"],
    [
      "a cut array",
      '[{"prompt":"a"},{"prompt":"b"}',
      "line 1, byte 31: the file breaks off: the array's ] is missing",
    ],
    [
      "a row cut in an array",
      '[{"prompt":"a"},\n{"prompt":"b',
      "breaks off within the row that begins at line 2",
    ],
    [
      "more after an array",
      '[{"prompt":"a"}\n]\nx',
      "line 3, byte 1: the array has ended, and more text follows",
    ],
    ["an array of texts", '[\n"a",\n"b"]', "line 2, byte 1: an object { is expected"],
    ["an empty array", "[]", "is empty"],
    ["CSV without a prompt", "id;question\n1;x\n", "in.jsonl:1 is no JSON", {}],
    [
      "CSV without a prompt, asked for",
      "id;question\n1;x\n",
      "its columns are id, question",
      { inputFormat: "csv" },
    ],
    ["CSV with an open quote", 'id,prompt\n1,"x\n2,y\n', "a quoted text is never closed"],
    [
      "CSV with a quote too many",
      'id,prompt\n1,x\n2,y "z"\n',
      "in.jsonl:3, field 2: a quote stands within a text",
    ],
    ["a spreadsheet", "PK\u0003\u0004", "a zip archive or a spreadsheet"],
  ])("%s", async (_, text, message, options = {}) => {
    const { error } = await scanError(Buffer.from(text), options);
    expect(error.message).toContain(message);
    expect(error.hint).toBeTruthy();
  });

  test("a thousand rows of an array are read one after the other, by their place", async () => {
    const rows = Array.from({ length: 1000 }, (_, n) => ({ prompt: `${n} ${"x".repeat(n)}` }));
    const { rows: read } = await readAll(writeInput(Buffer.from(JSON.stringify(rows))));
    expect(read.map(({ request }) => request.messages[0]?.content)).toEqual(rows.map(({ prompt }) => prompt));
  });
});
