import type { oas31 } from "zod-openapi";

/*
 * The document as one page without scripts, so that the content security policy stays closed and nothing is loaded from
 * elsewhere.
 */

const METHODS = ["get", "post", "put", "patch", "delete"] as const;
const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 0 auto; padding: 1rem }
details { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem }
summary { cursor: pointer } code, pre { font: 13px/1.4 ui-monospace, monospace } pre { overflow-x: auto }
b { display: inline-block; min-width: 4.5rem; text-transform: uppercase } td, th { text-align: left; padding: .1rem 1rem .1rem 0; vertical-align: top }
`;

/** Returns the page as HTML. */
export function docsPage(document: oas31.OpenAPIObject): string {
  const { info, tags = [] } = document;
  const operations = operationsOf(document);
  const sections = tags.map(({ name }) => {
    const own = operations.filter(({ operation }) => operation.tags?.includes(name));
    return `<h2 id="${text(name)}">${text(name)}</h2>${own.map(operationHtml).join("")}`;
  });
  const schemas = Object.entries(document.components?.schemas ?? {}).map(
    ([name, schema]) =>
      `<details id="schema-${text(name)}"><summary><code>${text(name)}</code></summary>${json(schema)}</details>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${text(info.title)} API</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>
<h1>${text(info.title)} API ${text(info.version)}</h1>
<p>${marked(info.description ?? "")} Requests send <code>Authorization: Bearer gk_…</code>. As a document:
<a href="openapi.json">openapi.json</a>.</p>
<nav>${tags.map(({ name }) => `<a href="#${text(name)}">${text(name)}</a>`).join(" · ")} · <a href="#schemas">schemas</a></nav>
${sections.join("\n")}<h2 id="schemas">schemas</h2>${schemas.join("")}</body></html>`;
}

interface Documented {
  method: string;
  path: string;
  operation: oas31.OperationObject;
}

function operationsOf({ paths = {} }: oas31.OpenAPIObject): Documented[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item[method];
      return operation ? [{ method, path, operation }] : [];
    }),
  );
}

function operationHtml({ method, path, operation }: Documented): string {
  const { summary = "", description = "", parameters = [], requestBody, responses, operationId } = operation;
  const rows = parameters.map((parameter) => {
    if (!("name" in parameter)) return "";
    const { name, in: place, required, description: what = "", schema } = parameter;
    const need = required ? "required" : "optional";
    return `<tr><td><code>${text(name)}</code></td><td>${place}, ${need}</td><td>${text(what)} <code>${text(JSON.stringify(schema))}</code></td></tr>`;
  });
  const body = requestBody && "content" in requestBody ? contentHtml("Body", requestBody.content) : "";
  const answer = (responses as Record<string, oas31.ResponseObject>)["2XX"]?.content ?? {};
  return `<details id="${text(operationId ?? "")}"><summary><b>${method}</b> <code>${text(path)}</code> ${text(summary)}</summary>
<p>${marked(description)}</p>${rows.length > 0 ? `<table>${rows.join("")}</table>` : ""}${body}${contentHtml("Answer", answer)}</details>`;
}

function contentHtml(title: string, content: oas31.ContentObject): string {
  return Object.entries(content)
    .map(([type, { schema }]) => `<p>${title}: <code>${text(type)}</code></p>${json(schema)}`)
    .join("");
}

/** A schema, in which references are links. */
function json(schema: unknown): string {
  const shown = text(JSON.stringify(schema ?? {}, null, 2));
  return `<pre>${shown.replace(/#\/components\/schemas\/(\w+)/g, '<a href="#schema-$1">$1</a>')}</pre>`;
}

/** Code marks are the one mark-up of our texts. */
function marked(shown: string): string {
  return text(shown).replace(/`([^`]+)`/g, "<code>$1</code>");
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function text(shown: string): string {
  return shown.replace(/[&<>"]/g, (char) => ENTITIES[char] ?? char);
}
