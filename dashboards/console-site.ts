import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, extname, join, relative } from "node:path";
import { type RequestHandler, type Response, Router } from "express";
import { sha256 } from "../src/shared/digest.ts";
import type { Logger } from "../src/shared/logger.ts";
import { compiledConsole } from "./compile-console.ts";

/** Packages that pages import, and the name of each in `/console/<version>/lib/`. */
const LIBRARIES = {
  preact: ["preact", "dist/preact.mjs"],
  "preact/hooks": ["preact", "hooks/dist/hooks.mjs"],
  "preact/jsx-runtime": ["preact", "jsx-runtime/dist/jsxRuntime.mjs"],
  "@preact/signals-core": ["@preact/signals-core", "dist/signals-core.mjs"],
  "@preact/signals": ["@preact/signals", "dist/signals.mjs"],
  uplot: ["uplot", "dist/uPlot.esm.js"],
} as const;
const IMPORTED = new RegExp(`(from\\s*|import\\s*)(["'])(${Object.keys(LIBRARIES).join("|")})\\2`, "g");
const TYPES: Record<string, string> = { ".js": "text/javascript", ".css": "text/css" };
const ICON =
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='3' fill='%232f5bd0'/><path d='M4 8h8M4 5h5M4 11h6' stroke='white' stroke-width='1.6' stroke-linecap='round'/></svg>";

/** The first parts of the console's paths; every other path is somebody else's. */
const PAGES = [
  ...["runs", "jobs", "conversations", "batches", "schedules", "dead-letters", "playground"],
  ...["workers", "limits", "errors", "spend", "tenants", "access", "audit"],
];
const IS_PAGE = new RegExp(`^/(?:(?:${PAGES.join("|")})(?:/[^/]*)?)?$`);

/** In the order in which they hold. */
const STYLES = ["uplot", "base", "frame", "panels", "badges", "tables", "forms", "run", "narrow"].map(
  (name) => `styles/${name}`,
);

interface ConsoleSite {
  routes: Router;
  /** For a path that is nobody's: the console says so to a browser, and has the way home. */
  unknownPage: RequestHandler;
}

interface Site {
  page: string;
  /** Path below `/console/` → what it is. */
  files: ReadonlyMap<string, { type: string; text: string }>;
}

/**
 * Serves the console: its page at `/` and at the paths of its views, its modules, styles and libraries at `/console/<version>/`,
 * which browsers keep for a year. It is read, and in a checkout compiled, at the first request.
 */
export function consoleSite(namespace: string, logger: Logger): ConsoleSite {
  let site: Promise<Site> | undefined;
  const read = () => {
    site ??= readSite(namespace).catch((error: Error) => {
      site = undefined;
      logger.error({ fault: error.message }, "the console cannot be served");
      throw error;
    });
    return site;
  };
  const router = Router({ caseSensitive: true });
  const sendPage = async (response: Response) => {
    const { page } = await read();
    response.set("Cache-Control", "no-cache").type("html").send(page);
  };
  router.get(IS_PAGE, (_request, response) => sendPage(response));
  router.get("/console/*path", async (request, response, next) => {
    const file = (await read()).files.get(request.path.slice("/console/".length));
    if (!file) return next();
    response.set("Cache-Control", "private, max-age=31536000, immutable").type(file.type).send(file.text);
  });
  // Programs prefer a line of text, and so does who takes anything.
  const unknownPage: RequestHandler = async (request, response, next) => {
    if (request.method !== "GET" || request.accepts(["text", "html"]) !== "html") return next();
    await sendPage(response.status(404));
  };
  return { routes: router, unknownPage };
}

async function readSite(namespace: string): Promise<Site> {
  const folder = await compiledConsole();
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && extname(path) in TYPES)
      found.set(relative(folder, path).replaceAll("\\", "/"), readFileSync(path, "utf8"));
  }
  for (const [name, [packageName, path]] of Object.entries(LIBRARIES))
    found.set(`lib/${name}.js`, readFileSync(join(packageFolder(packageName), path), "utf8"));
  found.set("styles/uplot.css", readFileSync(join(packageFolder("uplot"), "dist", "uPlot.min.css"), "utf8"));
  const version = sha256(JSON.stringify([...found])).slice(0, 12);
  const base = `/console/${version}`;
  const files = [...found].map(([name, text]) => {
    const type = TYPES[extname(name)] ?? "";
    // Browsers know no names of packages.
    const shown = type === "text/javascript" ? text.replace(IMPORTED, `$1$2${base}/lib/$3.js$2`) : text;
    return [`${version}/${name}`, { type, text: shown }] as const;
  });
  const modules = [...found.keys()].filter((name) => name.endsWith(".js"));
  return { page: pageOf(base, modules, namespace), files: new Map(files) };
}

function packageFolder(name: string): string {
  const entry = createRequire(import.meta.url).resolve(name);
  const end = join("node_modules", ...name.split("/"));
  return entry.slice(0, entry.lastIndexOf(end) + end.length) || dirname(entry);
}

/** All modules are named, so that a browser asks for them at once and not one after the other. */
function pageOf(base: string, modules: readonly string[], namespace: string): string {
  const preloads = modules.map((name) => `<link rel="modulepreload" href="${base}/${name}">`);
  return `<!doctype html>
<html lang="en" data-namespace="${namespace.replaceAll(/[^\w.:-]/g, "")}">
<head>
<meta charset="utf-8">
<title>GlueLLM</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="${ICON}">
${STYLES.map((name) => `<link rel="stylesheet" href="${base}/${name}.css">`).join("\n")}
${preloads.join("\n")}
<script type="module" src="${base}/main.js"></script>
</head>
<body><div id="app"><noscript>The console needs JavaScript; Bull Board at /queues does too.</noscript></div></body>
</html>
`;
}
