import { signal } from "@preact/signals";

/*
 * The page's one stream of server-sent events: the server says that something has changed, and what is shown is asked for again. A hidden page
 * has none. While it is cut, pages ask now and then, as they do without it.
 */

/** Whether changes are told; false: who shows something has to ask. */
export const isStreaming = signal(false);
/** Grows with each change. */
export const changes = signal(0);

/** A cut stream is asked for again after so long, doubling to the longest time. */
const [FIRST_WAIT_MS, MAX_WAIT_MS] = [2000, 60_000];

let source: EventSource | undefined;
let waitMs = FIRST_WAIT_MS;
let timer = 0;

/** Keeps the stream open while the page is seen. */
export function followChanges(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
    // What happened meanwhile nobody told.
    changes.value++;
  });
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}

function open(): void {
  if (source) return;
  clearTimeout(timer);
  source = new EventSource("/api/live");
  source.addEventListener("open", () => {
    waitMs = FIRST_WAIT_MS;
    // Between two streams something may have changed.
    changes.value++;
    isStreaming.value = true;
  });
  source.addEventListener("changed", () => changes.value++);
  // Browsers try again at once and for ever; a server that refuses is asked less and less.
  source.addEventListener("error", () => {
    close();
    timer = setTimeout(open, waitMs);
    waitMs = Math.min(MAX_WAIT_MS, waitMs * 2);
  });
}

function close(): void {
  clearTimeout(timer);
  source?.close();
  source = undefined;
  isStreaming.value = false;
}
