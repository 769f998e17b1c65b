/** The document with what stands between `<!-- name -->` and `<!-- /name -->` replaced. */
export function withGeneratedPart(text: string, name: string, body: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [before, rest = ""] = text.split(start);
  const [, after = ""] = rest.split(end);
  return `${before}${start}\n${body}${end}${after}`;
}

/** A cell of a Markdown table. */
export function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
