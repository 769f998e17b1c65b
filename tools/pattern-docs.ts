import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import { inputFields, inputShape } from "../src/cli/input-shape.ts";
import { PATTERNS, type PatternName } from "../src/patterns/all.ts";
import { cell, withGeneratedPart } from "./generated-part.ts";

/*
 * The part of docs/patterns.md that is made from the patterns' configs; `node tools/pattern-docs.ts` writes it anew.
 */

export const DOCS = join(import.meta.dirname, "../docs/patterns.md");

/** Mermaid: what asks whom, in which order. */
const DIAGRAMS: Readonly<Record<PatternName, string>> = {
  "chain-of-density":
    "input --> summary --> dense[name missing entities, rewrite at the same length] --> dense --> output",
  consensus:
    "input --> proposers --> proposals --> votes -->|agreement| output\nvotes -->|none: revise| proposers",
  constitutional:
    "input --> generator --> checks[a check per principle] -->|all pass| output\nchecks -->|broken| revision --> checks",
  debate:
    "input --> participants -->|rounds| participants --> judge --> output\nparticipants -->|consensus| output",
  hierarchical: "input --> manager -->|plan| workers --> synthesis --> output",
  "iterative-refinement":
    "input --> producer --> critics -->|score too low| producer\ncritics -->|good, converged or last| output",
  "map-reduce": "input -->|chunks| mappers --> reducer -->|hierarchical: again| reducer --> output",
  "mixture-of-experts": "input --> routing --> experts --> combination --> output",
  pipeline: "input --> stage1 --> stage2 --> stage3 --> output",
  rag: "input --> retriever --> generator --> sources[sources looked up] --> verifier --> output\nverifier -->|unsupported| generator",
  react: "input --> thought --> action[tools] --> observation --> thought\nthought -->|no action| output",
  reflection:
    "input --> generator --> reflector -->|issues| generator\nreflector -->|none, converged or last| output",
  "round-robin": "input --> agent1 --> agent2 --> agent3 --> agent1\nagent3 --> synthesis --> output",
  socratic: "input --> questioner --> responder --> questioner\nresponder --> synthesis --> output",
  "tree-of-thoughts":
    "input --> thoughts[thoughts per state] --> evaluator -->|the best go on| thoughts\nevaluator --> output",
};

/** The patterns, each with its options as the configs say them. */
function patternDocs(): string {
  const names = Object.keys(PATTERNS) as PatternName[];
  const rows = names.map((name) => {
    const { when, calls } = PATTERNS[name];
    return `| [\`${name}\`](#${name}) | ${cell(when)} | ${cell(calls)} |`;
  });
  return [
    "| pattern | take it when | calls of models |",
    "|---|---|---|",
    ...rows,
    "",
    ...names.flatMap(describePattern),
  ].join("\n");
}

function describePattern(name: PatternName): string[] {
  const { source, config } = PATTERNS[name];
  const fields = inputFields(inputShape(config as z.ZodObject));
  return [
    `### ${name}`,
    "```mermaid",
    "flowchart LR",
    ...DIAGRAMS[name].split("\n").map((line) => `  ${line}`),
    "```",
    ...(source ? [`Source: ${source}`, ""] : []),
    "| option | | default | |",
    "|---|---|---|---|",
    ...fields.map(({ name: option, type, isRequired, default: value, description }) => {
      const standard = isRequired ? "required" : value === undefined ? "–" : `\`${JSON.stringify(value)}\``;
      return `| \`${option}\` | ${cell(type)} | ${cell(standard)} | ${cell(description)} |`;
    }),
    "",
  ];
}

/** The document with its generated part as it should be. */
export function withPatternDocs(text: string): string {
  return withGeneratedPart(text, "patterns", patternDocs());
}

if (import.meta.main) writeFileSync(DOCS, withPatternDocs(readFileSync(DOCS, "utf8")));
