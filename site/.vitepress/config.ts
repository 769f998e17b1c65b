import { defineConfig, type MarkdownRenderer } from "vitepress";
import { sidebar } from "../pages.ts";

export default defineConfig({
  title: "GlueLLM",
  description: "Durable LLM jobs on Redis for TypeScript",
  srcDir: "pages",
  outDir: "dist",
  base: process.env.SITE_BASE ?? "/",
  ignoreDeadLinks: "localhostLinks",
  lastUpdated: false,
  vite: { build: { chunkSizeWarningLimit: 4000 } },
  markdown: { config: showDiagrams },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Getting started", link: "/getting-started" },
      { text: "Examples", link: "/files/examples/" },
      { text: "API reference", link: "/reference/" },
    ],
    sidebar: [...sidebar(), { text: "Reference", items: [{ text: "API reference", link: "/reference/" }] }],
  },
});

/** A fence `mermaid` is drawn by the page (theme/index.ts) in place of being shown as code. */
function showDiagrams(md: MarkdownRenderer): void {
  const fence = md.renderer.rules.fence;
  md.renderer.rules.fence = (tokens, at, options, env, self) => {
    const token = tokens[at];
    if (token?.info.trim() !== "mermaid") return fence?.(tokens, at, options, env, self) ?? "";
    return `<pre class="mermaid" v-pre>${md.utils.escapeHtml(token.content)}</pre>`;
  };
}
