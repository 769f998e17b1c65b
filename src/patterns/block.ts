/** The tags of the patterns' prompts; some stand with a number or a name behind a hyphen. */
const TAGS = [
  "action answer broken critique document draft earlier-answer entities expert failed-subtasks line",
  "objections observation part principle principles problem proposal question reflection result round",
  "specialty step subtask summary task text thought thoughts topic transcript unsupported-claims whole-task",
  "workers your-proposal critiques",
].flatMap((line) => line.split(" "));

/** The begin of such a tag, whatever its case and the spaces in it. Others stay: the text may be a program or a page. */
const TAG_START = new RegExp(`<(?=\\s*(?:/\\s*)?(?:${TAGS.join("|")})(?![A-Za-z]))`, "gi");
const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/**
 * Returns data between tags, for a prompt. Its own text can neither end them nor begin others: there `<` becomes
 * `&lt;`.
 * @param tag one of TAGS, maybe with more behind a hyphen
 */
export function block(
  tag: string,
  text: string,
  attributes: Readonly<Record<string, string | number>> = {},
): string {
  const given = Object.entries(attributes).map(([name, value]) => ` ${name}="${quoted(`${value}`)}"`);
  return `<${tag}${given.join("")}>\n${text.replace(TAG_START, "&lt;")}\n</${tag}>`;
}

function quoted(value: string): string {
  return value.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
}
