import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ERROR_POLICIES, type ErrorPolicy } from "../src/shared/error-policy.ts";
import { GlueError } from "../src/shared/errors.ts";
import { cell, withGeneratedPart } from "./generated-part.ts";

/*
 * The table of ARCHITECTURE.md that is made from the error policy; `node tools/error-docs.ts` writes it anew.
 */

export const DOCS = join(import.meta.dirname, "../ARCHITECTURE.md");

type Words<Column extends keyof ErrorPolicy> = Readonly<Record<ErrorPolicy[Column], string>>;

const SCOPES: Words<"scope"> = {
  budget: "every queue of the budget",
  queue: "the queue",
  queueIfTimed: "the queue, when it names a time, else the job",
  job: "the job",
};
const NEXT_MODEL: Words<"fallsBack"> = { whenStuck: "when stuck", atOnce: "at once", never: "never" };
const CHARGED: Words<"charged"> = { reserved: "what was reserved", nothing: "–" };
const COUNTS: Words<"counts"> = { request: "a request", rateLimited: "a 429", nothing: "–" };
const PROVIDER: Words<"provider"> = { down: "is down", limited: "is limited", works: "works", unknown: "–" };
const FOLLOWERS: Words<"followers"> = { lasting: "fail too", passing: "may fail too", none: "–" };

const HEAD = [
  "error",
  "when",
  "verdict",
  "who waits",
  "next model",
  "counts as",
  "is charged",
  "says the provider",
  "equal requests",
];

function errorTable(): string {
  const rows = [HEAD, HEAD.map(() => "---"), ...ERROR_POLICIES.map(cellsOf)];
  return rows.map((cells) => `| ${cells.map(cell).join(" | ")} |\n`).join("");
}

function cellsOf({ of, code, when, ...policy }: (typeof ERROR_POLICIES)[number]): string[] {
  const waits = policy.verdict === "snooze" || policy.verdict === "retry";
  return [
    nameOf(of, code),
    when,
    policy.fails === "second" ? "retry once" : policy.verdict,
    waits ? SCOPES[policy.scope] : "–",
    NEXT_MODEL[policy.fallsBack],
    COUNTS[policy.counts],
    CHARGED[policy.charged],
    PROVIDER[policy.provider],
    FOLLOWERS[policy.followers],
  ];
}

function nameOf(of: (typeof ERROR_POLICIES)[number]["of"], code: string | undefined): string {
  const isBase = of.includes(GlueError);
  if (code) return isBase ? `code \`${code}\`` : `${classes(of)}, code \`${code}\``;
  // The base class stands for all that have no row of their own.
  return isBase ? "any other" : classes(of);
}

function classes(of: (typeof ERROR_POLICIES)[number]["of"]): string {
  return of.map(({ name }) => `\`${name}\``).join(", ");
}

/** The document with its generated part as it should be. */
export function withErrorDocs(text: string): string {
  return withGeneratedPart(text, "errors", errorTable());
}

if (import.meta.main) writeFileSync(DOCS, withErrorDocs(readFileSync(DOCS, "utf8")));
