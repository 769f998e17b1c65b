import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get } from "./api.ts";

/** When the server last answered, and whether it does. */
export const lastAnswer = signal<{ at: number; error: string | undefined }>({ at: 0, error: undefined });

const MAX_BACKOFF_MS = 15_000;
/** Grows when something was changed here, so that what is shown is asked for at once. */
const changed = signal(0);

/** Has every view ask again at once. */
export function refresh(): void {
  changed.value++;
}

export interface Live<T> {
  data: T | undefined;
  /** Why there is nothing newer; what is shown may be old then. */
  error: ApiError | undefined;
}

/**
 * Asks for a path now and every `everyMs` (0: once), and renders again only when the answer is another one: an unchanged one costs a 304.
 * A hidden page asks for nothing.
 */
export function useLive<T>(path: string | undefined, everyMs = 2000): Live<T> {
  const [live, setLive] = useState<Live<T> & { path: string | undefined }>({
    path,
    data: undefined,
    error: undefined,
  });
  const shown = useRef("");
  const version = changed.value;
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    let timer = 0;
    let faults = 0;
    shown.current = "";
    const again = (ms: number) => {
      if (!stop.signal.aborted && ms > 0) timer = setTimeout(() => void look(), ms);
    };
    async function look(): Promise<void> {
      if (document.hidden) return again(everyMs);
      try {
        const data = await get<T>(path as string, stop.signal);
        faults = 0;
        lastAnswer.value = { at: Date.now(), error: undefined };
        const text = JSON.stringify(data);
        if (text !== shown.current) setLive({ path, data, error: undefined });
        shown.current = text;
        again(everyMs);
      } catch (error) {
        if (stop.signal.aborted) return;
        faults++;
        const fault = error as ApiError;
        // Of one source that is away, its own place on the page tells.
        if (fault.status === undefined || fault.code === "redis_unavailable")
          lastAnswer.value = { at: lastAnswer.value.at, error: fault.message };
        shown.current = "";
        setLive((known) => ({ path, data: known.path === path ? known.data : undefined, error: fault }));
        if (fault.status === 401) return;
        again(everyMs > 0 ? Math.min(MAX_BACKOFF_MS, everyMs * 2 ** faults) : 0);
      }
    }
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs, version]);
  return live.path === path ? live : { data: undefined, error: undefined };
}
