import { effect, signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get } from "./api.ts";
import { changes, isStreaming } from "./live-stream.ts";

/** When the server last answered, and whether it does. */
export const lastAnswer = signal<{ at: number; error: string | undefined }>({ at: 0, error: undefined });

const MAX_BACKOFF_MS = 15_000;
const RECHECK_MS = 10_000;
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

/** How a question ended: it is asked again soon, later, or not any more. */
type Asked = "well" | "fault" | "over";

/**
 * Asks now, and whenever there may be something new: after a change that the stream tells, `everyMs` apart at least; while it tells none, each
 * ten seconds, since not all changes are told; without a stream, and of what changes with time alone (`ticks`), every `everyMs`.
 * A hidden page asks for nothing. @returns what ends it
 */
export function keepAsking(
  ask: () => Promise<Asked>,
  { everyMs, ticks = false }: { everyMs: number; ticks?: boolean },
): () => void {
  let timer = 0;
  let askedAt = 0;
  let faults = 0;
  let isBusy = false;
  let isDue = false;
  let isOver = false;
  const gapMs = () => Math.max(0, askedAt + everyMs / 2 - Date.now());
  const nextMs = () => {
    if (faults > 0) return Math.min(MAX_BACKOFF_MS, everyMs * 2 ** faults);
    if (isDue) return gapMs();
    return isStreaming.value && !ticks ? Math.max(everyMs, RECHECK_MS) : everyMs;
  };
  const again = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => void run(), ms);
  };
  async function run(): Promise<void> {
    if (document.hidden) return again(everyMs);
    isBusy = true;
    isDue = false;
    askedAt = Date.now();
    const end = await ask();
    isBusy = false;
    if (isOver || end === "over") return;
    faults = end === "well" ? 0 : faults + 1;
    again(nextMs());
  }
  const stopHearing = effect(() => {
    void changes.value;
    void isStreaming.value;
    if (isBusy) isDue = true;
    else if (faults === 0) again(gapMs());
  });
  return () => {
    isOver = true;
    stopHearing();
    clearTimeout(timer);
  };
}

/**
 * Asks for a path as `keepAsking` does (`everyMs` 0: once), and renders again only when the answer is another one: an unchanged one costs
 * a 304.
 */
export function useLive<T>(path: string | undefined, everyMs = 2000, { ticks = false } = {}): Live<T> {
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
    shown.current = "";
    async function ask(): Promise<Asked> {
      try {
        const data = await get<T>(path as string, stop.signal);
        lastAnswer.value = { at: Date.now(), error: undefined };
        const text = JSON.stringify(data);
        if (text !== shown.current) setLive({ path, data, error: undefined });
        shown.current = text;
        return "well";
      } catch (error) {
        if (stop.signal.aborted) return "over";
        const fault = error as ApiError;
        // Of one source that is away, its own place on the page tells.
        if (fault.status === undefined || fault.code === "redis_unavailable")
          lastAnswer.value = { at: lastAnswer.value.at, error: fault.message };
        shown.current = "";
        setLive((known) => ({ path, data: known.path === path ? known.data : undefined, error: fault }));
        return fault.status === 401 ? "over" : "fault";
      }
    }
    const end = everyMs > 0 ? keepAsking(ask, { everyMs, ticks }) : void ask();
    return () => {
      stop.abort();
      end?.();
    };
  }, [path, everyMs, ticks, version]);
  return live.path === path ? live : { data: undefined, error: undefined };
}
