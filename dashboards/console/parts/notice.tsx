import { signal } from "@preact/signals";

const SHOWN_MS = 6000;
const notice = signal("");
let timer = 0;

/** Tells what came of an action, on the screen and to screen readers. */
export function say(text: string): void {
  notice.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => {
    notice.value = "";
  }, SHOWN_MS);
}

export function Notice() {
  return (
    <output class={notice.value ? "notice shown" : "notice"} aria-live="polite">
      {notice.value}
    </output>
  );
}
