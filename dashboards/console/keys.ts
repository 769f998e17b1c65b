import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { go } from "./router.ts";

export const isHelpOpen = signal(false);

/** Keys of the page that is shown, beside those of all pages. */
const own = new Map<string, () => void>();

export function useKey(key: string, act: () => void): void {
  useEffect(() => {
    own.set(key, act);
    return () => {
      if (own.get(key) === act) own.delete(key);
    };
  });
}

const JUMPS: Record<string, string> = {
  o: "/",
  r: "/runs",
  j: "/jobs",
  b: "/batches",
  d: "/dead-letters",
  w: "/workers",
  l: "/limits",
  e: "/errors",
  s: "/schedules",
  p: "/playground",
  t: "/tenants",
  a: "/access",
};

/** Key and what it does, for the help. */
export const HELP: readonly (readonly [string, string])[] = [
  ["/", "go to the filter"],
  ["j, k", "next row, row before"],
  ["Enter", "open the row"],
  ["n", "next failure"],
  ["Esc", "close the panel, leave the filter"],
  [
    "g then o, r, j, b, d, w, l, e, s, p, t, a",
    "overview, runs, jobs, batches, dead letters, workers, limits, errors, schedules, playground, tenants, access",
  ],
  ["?", "this help"],
];

let jump = 0;

export function listenToKeys(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
    const target = event.target as HTMLElement;
    const isTyping = target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (event.key === "Escape" && isTyping) return target.blur();
    if (isTyping || document.querySelector("dialog[open]")) return;
    if (act(event.key)) event.preventDefault();
  });
}

function act(key: string): boolean {
  if (Date.now() < jump && JUMPS[key]) {
    jump = 0;
    go(JUMPS[key]);
    return true;
  }
  const ofPage = own.get(key);
  if (ofPage) {
    ofPage();
    return true;
  }
  if (key === "g") jump = Date.now() + 1500;
  else if (key === "?") isHelpOpen.value = true;
  else if (key === "/") document.querySelector<HTMLElement>("[data-filter]")?.focus();
  else if (key === "j") moveRow(1);
  else if (key === "k") moveRow(-1);
  else if (key === "n") moveRow(1, "[data-failed]");
  else return false;
  return true;
}

/** Focuses the next row that fits, from the one that has the focus on; around the end. */
function moveRow(by: number, which = ""): void {
  const rows = [...document.querySelectorAll<HTMLElement>(`[data-row]${which}`)];
  const focused = document.activeElement?.closest("[data-row]");
  const all = [...document.querySelectorAll("[data-row]")];
  const at = focused ? all.indexOf(focused) : -1;
  const places = rows.map((row) => all.indexOf(row));
  const next = by > 0 ? places.findIndex((n) => n > at) : places.findLastIndex((n) => n < at);
  const row = rows[next >= 0 ? next : by > 0 ? 0 : rows.length - 1];
  const focusable = row?.matches("a, button") ? row : row?.querySelector<HTMLElement>("a, button");
  focusable?.focus();
  row?.scrollIntoView({ block: "nearest" });
}
