import { expect, inject, test } from "vitest";
import { evaluate } from "../../examples/parts/arithmetic.ts";
import type { AnswerScript } from "../../src/simulator/directive.ts";
import { bareMachine } from "../support/bare-machine.ts";
import { exampleSite, examplesOf } from "../support/examples.ts";

const { dataDir, ran, run } = exampleSite();

/** Runs an example on a machine whose provider follows the script. */
async function runScripted(name: string, answer?: AnswerScript) {
  const { simulator, env } = await bareMachine(dataDir, { answer });
  const lines = await run(`workflow-${name}`, env);
  return { lines, calls: simulator.journal.entries() };
}

test("research: facts side by side, an outline, a draft; the same run is not paid twice; a pipeline", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("research", ({ lastUserText: asked, answerSchema }) => {
    if (answerSchema) return { json: { title: "Tides", sections: ["The Moon", "The Sun"] } };
    const angle = /its (.*)\.$/.exec(asked)?.[1];
    if (angle) return { reply: `On ${angle}.` };
    return { reply: asked.startsWith("Write") ? "The draft." : `<${asked}>` };
  });
  expect(lines).toEqual([
    "Tides: 2 sections, a draft: true",
    "  facts: completion succeeded",
    "  facts#2: completion succeeded",
    "  facts#3: completion succeeded",
    "  outline: completion succeeded",
    "  draft: completion succeeded",
    "the same run: true",
    "by stages: outline, draft, edit",
    "each reads the one before: true",
  ]);
  const prompts = calls.map(({ lastUserText }) => lastUserText);
  expect(prompts.slice(3)).toEqual([
    "Outline an article about tides:\n\nOn history.\n\nOn figures.\n\nOn open questions.",
    expect.stringMatching(/^Write "Tides"\.\n\nThe Moon\nThe Sun\n\nNotes:\nOn history\./),
    "Tides",
    "<Tides>",
    "<<Tides>>",
  ]);
});

test("debate: two rounds, in which each hears the others, and the judge's verdict", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("debate", ({ lastUserText: asked, answerSchema }) => {
    const verdict = {
      reasoning: "Cost was not answered.",
      decision: "No, not with four.",
      winner: "sceptic",
    };
    if (answerSchema) return { json: verdict };
    const name = /You are (\w+)\./.exec(asked)?.[1];
    return {
      reply: name ? `${name} answers ${asked.match(/<round-1 /g)?.length} statements` : "My opening.",
    };
  });
  expect(lines).toEqual([
    "round 1 optimist: My opening.",
    "round 1 sceptic: My opening.",
    "round 2 optimist: optimist answers 2 statements",
    "round 2 sceptic: sceptic answers 2 statements",
    expect.stringMatching(/^verdict: \{"reasoning":/),
    "after 2 rounds: No, not with four. (strongest case: sceptic)",
    expect.stringMatching(/^5 calls, \d+ tokens, cost unknown$/),
  ]);
  expect(calls).toHaveLength(5);
});

test("map-reduce: a whole document is read in parts, whose results become one, level by level", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("map-reduce", ({ lastUserText: asked }) => {
    const part = /^Part (\d+) of/.exec(asked)?.[1];
    // Two of them fill a chunk, so that the results need levels.
    if (part) return { reply: `[${part}]${" a promise".repeat(140)}` };
    return { reply: [...asked.matchAll(/\[\d+\]/g)].join(" ") };
  });
  const parts = calls.filter(({ lastUserText }) => lastUserText.startsWith("Part ")).length;
  expect(parts).toBeGreaterThan(4);
  const [first, merged = "", headings = "", ...rest] = lines;
  expect(first).toMatch(new RegExp(`^limits.md, \\d{5} characters: ${parts} chunks, 0 skipped$`));
  const [, lists, levels, reductions] =
    /^(\d+) lists merged in (\d+) levels by (\d+) calls$/.exec(merged) ?? [];
  expect([Number(lists), Number(reductions)]).toEqual([parts, calls.length - parts]);
  expect(Number(levels)).toBeGreaterThan(1);
  const [, seen, all] = /^(\d+) of (\d+) headings were read$/.exec(headings) ?? [];
  expect(Number(seen)).toBeGreaterThan(4);
  expect(seen).toBe(all);
  expect(rest).toEqual([Array.from({ length: parts }, (_, n) => `[${n + 1}]`).join(" ")]);
});

test("approval: a run waits for a worker, then for a person; forks of it take another way", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("approval", ({ lastUserText: asked }) => ({
    reply: asked.startsWith("Announce") ? "We open on Sundays." : "Sundays, for free.",
  }));
  expect(lines).toEqual([
    'waits for a worker with workflow "announce"',
    expect.stringMatching(/^running, waits for signal "review" until \S+Z; to review: We open on Sundays\.$/),
    "  draft: completion succeeded, review: signal running",
    "approved: We open on Sundays.",
    "refused: Sundays, for free.",
    "  draft: completion succeeded, review: signal succeeded, revise: completion succeeded",
    "another text: Open on Sundays, from May.",
  ]);
  expect(calls.map(({ lastUserText }) => lastUserText)).toEqual([
    "Announce in two sentences: the library opens on Sundays.",
    "We open on Sundays.\n\nRewrite it. Say what it costs.",
  ]);
});

test("activities: work waits for a worker that has it, goes on from its heartbeat, one run of a customer at a time", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("activities");
  const counted = (customer: string) => `{ customer: '${customer}', words: { tides: 7, winds: 7 } }`;
  expect(lines).toEqual([
    'ben waits for a worker with activity "count-words"',
    counted("ben"),
    "ann's second library waits for a place of concurrency:library:ann: 1 run has all, 0 come before it",
    counted("ann"),
    counted("ann"),
    "  count-words: activity succeeded",
    "  count-words#2: activity succeeded",
    "  seen: signal succeeded",
  ]);
  expect(calls).toEqual([]);
});

test("rag: full-text search finds the section, and a source holds only if its quote stands there", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("rag", ({ lastUserText: asked, answerSchema }) => {
    if (!answerSchema) return undefined;
    if (asked.startsWith("Check")) return { json: { claims: [] } };
    const [quote] = /A worker that is killed[^.]*\./.exec(asked) ?? [];
    const citations = [
      { document: 1, quote },
      { document: 2, quote: "these words are in no document" },
    ];
    return { json: { paragraphs: [{ text: "Others take them over.", citations }] } };
  });
  expect(lines).toEqual([
    expect.stringMatching(/^found: recovery\.md, How workflows recover; .*; .*$/),
    "Others take them over. [1]",
    "",
    "Sources:",
    "[1] recovery.md, How workflows recover",
    expect.stringMatching(/^quoted: A worker that is killed loses its runs/),
    "made up: 1 quotes; facts: verified",
    "No documents were found for this question.",
  ]);
  expect(calls).toHaveLength(2);
});

test("tree of thoughts: the puzzle is solved by the best line, and code checks the answer", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("tree-of-thoughts", game24("(10 - 4) * (13 - 9) = 24"));
  expect(lines).toEqual([
    "+ 13 - 9 = 4 (left: 4, 4, 10) [0.9]",
    "- 4 * 9 = 36 (left: 10, 13, 36) [0.1]",
    "  + 10 - 4 = 6 (left: 4, 6) [1]",
    "  - 4 + 4 = 8 (left: 8, 10) [0.1]",
    "    + 6 * 4 = 24 [1]",
    "solved after 9 calls: (10 - 4) * (13 - 9) = 24",
    "right: true",
  ]);
  expect(calls).toHaveLength(9);
  const { lines: wrong } = await runScripted("tree-of-thoughts", game24("(10 - 4) * (13 - 9) + 1"));
  expect(wrong.at(-1)).toBe("right: false");
});

test.each([
  ["(10 - 4) * (13 - 9)", 24],
  ["2 - 3 - 4 * 2 / 8", -2],
  ["-(1.5 + 1) * -2", 5],
  ["1 / 0", Number.POSITIVE_INFINITY],
  ["(10 - 4", Number.NaN],
  ["10 4", Number.NaN],
  ["4 +", Number.NaN],
  ["process.exit(1)", Number.NaN],
  ["", Number.NaN],
])("the calculator of the examples: %s is %d", (expression, value) => {
  expect(evaluate(expression)).toBe(value);
});

/** Its thoughts by the one they follow on, with their scores. */
const THOUGHTS: Record<string, [thought: string, score: number][]> = {
  "": [
    ["13 - 9 = 4 (left: 4, 4, 10)", 0.9],
    ["4 * 9 = 36 (left: 10, 13, 36)", 0.1],
  ],
  "13 - 9 = 4 (left: 4, 4, 10)": [
    ["10 - 4 = 6 (left: 4, 6)", 1],
    ["4 + 4 = 8 (left: 8, 10)", 0.1],
  ],
  "10 - 4 = 6 (left: 4, 6)": [["6 * 4 = 24", 1]],
};

function game24(reply: string): AnswerScript {
  const scores = Object.fromEntries(Object.values(THOUGHTS).flat());
  return ({ lastUserText: asked, answerSchema }) => {
    if (!answerSchema) return { reply };
    const last = [...asked.matchAll(/^\d+\. (.*)$/gm)].at(-1)?.[1] ?? "";
    if (asked.startsWith("Judge")) return { json: { reason: "by sight", score: scores[last] } };
    const thoughts = THOUGHTS[last]?.map(([thought]) => ({ thought, isSolution: thought === "6 * 4 = 24" }));
    return { json: { thoughts } };
  };
}

test("experts: each question goes to those whose field is nearest by embeddings", {
  tags: "long",
}, async () => {
  const { lines, calls } = await runScripted("experts", ({ lastUserText: asked }) => {
    const specialty = /<specialty>\n(\w+)\n/.exec(asked)?.[1];
    return { reply: specialty ? `As to ${specialty}.` : [...asked.matchAll(/As to \w+\./g)].join(" ") };
  });
  const nearest = (name: string) => expect.stringMatching(new RegExp(`^  ${name}, similarity 0\\.\\d\\d$`));
  expect(lines).toEqual([
    "Is the rent of a room income that taxes are due on, with deductions?",
    nearest("tax"),
    nearest("law"),
    "  embed, expert, expert#2, synthesize: As to tax. As to law.",
    "Which treatment with drugs helps against the pain of old injuries?",
    nearest("medicine"),
    nearest("\\w+"),
    expect.stringMatching(/^ {2}embed, expert, expert#2, synthesize: As to medicine\. As to \w+\.$/),
  ]);
  expect(
    calls.map(({ operation }) => operation).filter((operation) => operation === "embeddings"),
  ).toHaveLength(2);
});

test("react: what one tool found goes into the other, and a tool's failure is corrected", {
  tags: "long",
}, async () => {
  const { lines } = await runScripted("react", ({ lastUserText: asked }) => {
    const call = (reply: string, name: string, args: Record<string, string | string[]>) => ({
      reply,
      toolCalls: [{ name, arguments: args }],
    });
    const [, row = "", side = ""] = /([\d,]+) steps in a row or ([\d,]+) side by side/.exec(asked) ?? [];
    const quotient = `${row} / ${side}`.replaceAll(",", "");
    const value = /expression":"[\d /]+"}\n<\/action>\n<observation>\n(.*)\n<\/observation>/.exec(asked)?.[1];
    if (value) return { reply: `${value} times as many.` };
    if (asked.includes("has no value")) return call("As a division.", "calculator", { expression: quotient });
    if (row) return call("Now divide.", "calculator", { expression: `${quotient} times` });
    return call("I look it up.", "search_docs", { words: ["steps in a row", "side by side"] });
  });
  expect(lines).toEqual([
    "1. I look it up.",
    expect.stringMatching(
      /^ {3}search_docs \{"words":\[.*\]\} → \[\{"source":"recovery\.md, Limits","line":/,
    ),
    "2. Now divide.",
    expect.stringMatching(/^ {3}calculator .* → Error: RangeError: "5000 \/ 2000 times" has no value$/),
    "3. As a division.",
    '   calculator {"expression":"5000 / 2000"} → 2.5',
    "4. 2.5 times as many.",
    "after 4 steps: 2.5 times as many.",
  ]);
});

test("testing: tests of a workflow, with a time that jumps and scripted models", {
  tags: "long",
}, async () => {
  const { env } = await bareMachine(dataDir);
  const lines = await run("workflow-testing", env);
  expect(lines.filter((line) => /^(✔|✖)/.test(line))).toEqual([
    expect.stringMatching(/^✔ an offer that somebody takes /),
    expect.stringMatching(/^✔ an offer that nobody takes within three days/),
  ]);
});

test.skipIf(inject("isGate"))("every example of workflows was run", () => {
  expect([...ran].sort()).toEqual(examplesOf((name) => name.startsWith("workflow-")));
});
