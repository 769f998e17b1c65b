import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, withQuery } from "../api.ts";
import { keepAsking } from "../live.ts";
import type { Step, Timeline } from "../types.ts";

const PAGE = 100;
const POLL_MS = 1500;

export interface Steps {
  total: number;
  failed: readonly number[];
  at: (index: number) => Step | undefined;
  /** Those that are loaded, in order. */
  loaded: readonly Step[];
  /** Tells which are looked at: pages of them are loaded, and kept up to date while the run goes on. */
  look: (first: number, last: number) => void;
  error: Error | undefined;
}

/** The steps of a run, page by page as they come into view. `all`: how many are loaded from the start. */
export function useSteps(runId: string, isRunning: boolean, all: number): Steps {
  const pages = useRef(new Map<number, Step[]>());
  const asked = useRef(new Set<number>());
  const view = useRef<[number, number]>([0, 0]);
  const [state, setState] = useState<{ total: number; failed: number[]; version: number; error?: Error }>({
    total: 0,
    failed: [],
    version: 0,
  });
  const load = useCallback(
    async (page: number, signal?: AbortSignal) => {
      if (asked.current.has(page)) return;
      asked.current.add(page);
      try {
        const path = withQuery(`/api/runs/${encodeURIComponent(runId)}/timeline`, {
          from: page * PAGE,
          limit: PAGE,
        });
        const { data, total, failed } = await get<Timeline>(path, signal);
        pages.current.set(page, data);
        setState(({ version }) => ({ total, failed, version: version + 1 }));
      } catch (error) {
        if (!signal?.aborted) setState((known) => ({ ...known, error: error as Error }));
      } finally {
        asked.current.delete(page);
      }
    },
    [runId],
  );
  const look = useCallback(
    (first: number, last: number) => {
      view.current = [Math.floor(first / PAGE), Math.floor(Math.max(first, last - 1) / PAGE)];
      for (let page = view.current[0]; page <= view.current[1]; page++)
        if (!pages.current.has(page)) void load(page);
    },
    [load],
  );
  const wasRunning = useRef(isRunning);
  useEffect(() => {
    const stop = new AbortController();
    // Once more after the end: what was under way has ended with the run.
    if (!isRunning && wasRunning.current) pages.current.clear();
    wasRunning.current = isRunning;
    const inView = async () => {
      const [first, last] = view.current;
      const pagesInView = Array.from({ length: last - first + 1 }, (_, n) => first + n);
      await Promise.all(pagesInView.map((page) => load(page, stop.signal)));
      return "well" as const;
    };
    const end = isRunning ? keepAsking(inView, { everyMs: POLL_MS }) : void inView();
    return () => {
      stop.abort();
      end?.();
    };
  }, [isRunning, load]);
  const isSmall = state.total > 0 && state.total <= all;
  useEffect(() => {
    if (!isSmall) return;
    for (let page = 1; page * PAGE < state.total; page++) if (!pages.current.has(page)) void load(page);
  }, [isSmall, state.total, load]);
  return {
    total: state.total,
    failed: state.failed,
    error: state.error,
    at: (index) => pages.current.get(Math.floor(index / PAGE))?.[index % PAGE],
    loaded: [...pages.current.entries()].sort(([a], [b]) => a - b).flatMap(([, steps]) => steps),
    look,
  };
}
