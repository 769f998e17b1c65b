import { currentContext } from "../workflows/run-context.ts";

/** The tags of the patterns' prompts. */
export const TAGS = [
  ...[
    "action",
    "answer",
    "broken",
    "critique",
    "critiques",
    "document",
    "draft",
    "earlier-answer",
    "entities",
  ],
  ...["expert", "failed-subtasks", "line", "objections", "observation", "part", "principle", "principles"],
  ...["problem", "proposal", "question", "reflection", "result", "round", "specialty", "step", "subtask"],
  ...["summary", "task", "text", "thought", "thoughts", "topic", "transcript", "unsupported-claims"],
  ...["whole-task", "workers", "your-proposal"],
] as const;
/** What stands in a row may have its place in its tag. */
type Tag = (typeof TAGS)[number] | `${"answer" | "document" | "question" | "reflection" | "round"}-${number}`;
type Attributes = Readonly<Record<string, string | number>>;

/** The begin of such a tag, whatever its case and the spaces in it. Others stay: the text may be a program or a page. */
const TAG_START = new RegExp(`<(?=\\s*(?:/\\s*)?(?:${TAGS.join("|")})(?![A-Za-z]))`, "gi");
const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/**
 * Returns data between tags, for a prompt. Its own text can neither end them nor begin others: there `<` becomes
 * `&lt;`.
 * @param attributes what the data is called: names and labels, which may hold anything
 */
export function block(tag: Tag, text: string, attributes: Attributes = {}): string {
  if (currentContext.getStore()?.version === 1) return blockOfVersion1(tag, text, attributes);
  return write(tag, text, attributes);
}

/** Runs that were begun by version 1 of a pattern go on with the words of their recorded questions. */
function blockOfVersion1(tag: Tag, text: string, { label, agent, participant, ...rest }: Attributes): string {
  if (label !== undefined) return write(`${label}`, text, rest);
  if (agent !== undefined) return write(`${tag}-${agent}`, text, rest);
  if (participant !== undefined) return write(tag, `${participant}: ${text}`, rest);
  return write(tag, text, rest);
}

function write(tag: string, text: string, attributes: Attributes): string {
  const given = Object.entries(attributes).map(([name, value]) => ` ${name}="${quoted(`${value}`)}"`);
  return `<${tag}${given.join("")}>\n${text.replace(TAG_START, "&lt;")}\n</${tag}>`;
}

function quoted(value: string): string {
  return value.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
}
