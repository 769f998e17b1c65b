import { signal } from "@preact/signals";

/** Where the console is: the parts of the path, and the filters. */
export interface Place {
  parts: readonly string[];
  query: URLSearchParams;
}

export const place = signal<Place>(here());

function here(): Place {
  const parts = location.pathname.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(location.search) };
}

/** An address that somebody typed may hold what is no escape. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function go(path: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  place.value = here();
  if (!replace) scrollTo(0, 0);
}

/** Sets filters in the address, so that it can be shared; empty ones leave it. */
export function setQuery(changes: Record<string, string | undefined>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(location.pathname + (text ? `?${text}` : ""), { replace: true });
}

/** Makes links of the console change the page without loading it again; others stay what they are. */
export function followLinks(isOwn: (path: string) => boolean): void {
  addEventListener("popstate", () => {
    place.value = here();
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey)
      return;
    const link = (event.target as Element).closest?.("a");
    if (!link || link.target || link.hasAttribute("download")) return;
    if (link.origin !== location.origin || !isOwn(link.pathname)) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}
