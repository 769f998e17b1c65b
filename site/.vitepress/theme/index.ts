import { useData, useRoute } from "vitepress";
import DefaultTheme from "vitepress/theme";
import { nextTick, onMounted, watch } from "vue";

/** The default theme, with diagrams drawn in the page's colours. */
export default {
  extends: DefaultTheme,
  setup() {
    const route = useRoute();
    const { isDark } = useData();
    onMounted(() => {
      watch([() => route.path, isDark], () => nextTick(() => draw(isDark.value)), { immediate: true });
    });
  },
};

async function draw(isDark: boolean): Promise<void> {
  const diagrams = [...document.querySelectorAll<HTMLElement>("pre.mermaid")];
  if (diagrams.length === 0) return;
  for (const diagram of diagrams) {
    diagram.dataset.source ??= diagram.textContent ?? "";
    diagram.textContent = diagram.dataset.source;
    delete diagram.dataset.processed;
  }
  const { default: mermaid } = await import("mermaid");
  mermaid.initialize({ startOnLoad: false, theme: isDark ? "dark" : "default" });
  await mermaid.run({ nodes: diagrams });
}
