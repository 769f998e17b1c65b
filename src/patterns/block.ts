/** What begins a tag, whatever its case and the spaces in it. */
const TAG_START = /<(?=\s*(?:\/\s*)?[A-Za-z])/g;
const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Data within a prompt, between tags; its own text can neither end them nor begin others: `<` of a tag is `&lt;`. */
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
