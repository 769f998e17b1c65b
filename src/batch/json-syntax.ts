/** Where a text is no JSON, and what a reader of the message can do about it. Quotes nothing of the text. */
export interface SyntaxProblem {
  /** Offset in the text, in UTF-16 units. */
  at: number;
  reason: string;
  hint: string;
}

type Expected = "value" | "firstValue" | "key" | "firstKey" | "colon" | "comma" | "end";

const SPACE = /[ \t\n\r]*/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them within a text
const STRING = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*/y;
const SCALAR = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y;

const NAMED: readonly [RegExp, string, string][] = [
  [
    /\ufeff/y,
    "there is a byte order mark in the middle",
    "files were joined: take the mark of the second one out",
  ],
  [/-?(?:NaN|Infinity)/y, "NaN and Infinity are no JSON", "write null, or leave the field out"],
  [/(?:None|True|False)\b/y, "it is Python's notation", "write the rows with json.dumps: null, true, false"],
  [/undefined\b/y, "undefined is no JSON", "write null, or leave the field out"],
  [/'/y, "there is a single quote", 'put names and texts into double quotes: "'],
  [/\/[/*]/y, "there is a comment", "JSON has none: take it out"],
  [/-?0\d/y, "a number begins with 0", "write it without the zero, or as a text"],
];
const HINT = "write one JSON object per line";

/** Returns the first place where a text stops being JSON; undefined when it is JSON. */
export function findSyntaxProblem(text: string): SyntaxProblem | undefined {
  const open: ("{" | "[")[] = [];
  let expected: Expected = "value";
  let at = 0;
  const skip = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found !== null;
  };
  for (;;) {
    skip(SPACE);
    if (at >= text.length && expected === "end") return undefined;
    const char = text[at];
    const wantsValue = expected === "value" || expected === "firstValue";
    const wantsKey = expected === "key" || expected === "firstKey";
    const isClosing =
      char === (open.at(-1) === "{" ? "}" : "]") && ["comma", "firstValue", "firstKey"].includes(expected);
    if (open.length > 0 && isClosing) {
      at += 1;
      open.pop();
    } else if (wantsValue && (char === "{" || char === "[")) {
      at += 1;
      open.push(char);
      expected = char === "{" ? "firstKey" : "firstValue";
      continue;
    } else if (expected === "comma" && char === ",") {
      at += 1;
      expected = open.at(-1) === "{" ? "key" : "value";
      continue;
    } else if (expected === "colon" && char === ":") {
      at += 1;
      expected = "value";
      continue;
    } else if (char === '"' && (wantsValue || wantsKey)) {
      skip(STRING);
      if (text[at] !== '"') return brokenString(text, at);
      at += 1;
      if (wantsKey) {
        expected = "colon";
        continue;
      }
    } else if (!wantsValue || !skip(SCALAR)) return explain(text, at, expected);
    expected = open.length > 0 ? "comma" : "end";
  }
}

/** Returns the place in a text for a message: its column, and its line where there are several. */
export function placeIn(text: string, at: number): string {
  const lines = text.slice(0, at).split("\n");
  const column = `column ${(lines.at(-1) ?? "").length + 1}`;
  return text.trimEnd().includes("\n") ? `line ${lines.length} of the row, ${column}` : column;
}

function brokenString(text: string, at: number): SyntaxProblem {
  if (at >= text.length)
    return { at, reason: "it breaks off within a text", hint: "write the row anew: its end is missing" };
  if (text[at] === "\\")
    return { at, reason: "a text has an escape that JSON does not know", hint: "write a backslash as \\\\" };
  return {
    at,
    reason: "a text has a bare control character",
    hint: "write a line break as \\n, a tab as \\t",
  };
}

function explain(text: string, at: number, expected: Expected): SyntaxProblem {
  if (at >= text.length)
    return { at, reason: "it breaks off", hint: "write the row anew: its end is missing" };
  if (expected === "end" && /[{[]/.test(text[at] ?? ""))
    return { at, reason: "a second value follows on the same line", hint: HINT };
  if ((expected === "key" && text[at] === "}") || (expected === "value" && text[at] === "]"))
    return { at, reason: "there is a comma too many before the bracket", hint: "take the last comma out" };
  for (const [pattern, reason, hint] of NAMED) {
    pattern.lastIndex = at;
    if (pattern.test(text)) return { at, reason, hint };
  }
  const wanted = WANTED[expected];
  return { at, reason: `${wanted} is expected`, hint: HINT };
}

const WANTED: Record<Expected, string> = {
  value: "a value",
  firstValue: "a value or ]",
  key: "a name in double quotes",
  firstKey: "a name in double quotes or }",
  colon: "a colon",
  comma: "a comma or the closing bracket",
  end: "the end of the line",
};
