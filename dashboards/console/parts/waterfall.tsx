import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { counted, duration, millis } from "../format.ts";
import type { Span, Step } from "../types.ts";
import { useWindow } from "./table.tsx";
import type { Row } from "./tree-rows.ts";

const ROW_PX = 28;

/** What the colours mean; the same words stand in each bar's title and in the step's panel. */
export const KINDS: Record<Span["kind"], string> = {
  queue: "waits in the queue",
  budget: "waits for a limit",
  breaker: "waits for the circuit breaker",
  retry: "waits for a retry",
  model: "model",
  tool: "tools, activity",
  work: "local work",
  wait: "sleep, signal, person",
  child: "child run",
};

interface WaterfallProps {
  total: number;
  /** Undefined: not loaded yet. */
  rowAt: (index: number) => Row | undefined;
  /** Tells which rows are in view. */
  onView: (first: number, last: number) => void;
  from: number;
  to: number;
  selected: string | undefined;
  onSelect: (step: Step) => void;
  /** The row to bring into view. */
  target: number | undefined;
}

/** Steps on one axis of time; only the rows in view are in the page. */
export function Waterfall({ total, rowAt, onView, from, to, selected, onSelect, target }: WaterfallProps) {
  const box = useRef<HTMLDivElement>(null);
  const [isZoomed, setZoomed] = useState(false);
  const [first, last] = useWindow(box, total, true, ROW_PX);
  useEffect(() => onView(first, last), [first, last, onView]);
  useEffect(() => {
    if (target === undefined || !box.current) return;
    box.current.scrollTop = Math.max(0, target * ROW_PX - box.current.clientHeight / 2);
    requestAnimationFrame(() => box.current?.querySelector<HTMLElement>(`[data-index="${target}"]`)?.focus());
  }, [target]);
  const shown = Array.from({ length: last - first }, (_, n) => ({ index: first + n, row: rowAt(first + n) }));
  const axis = isZoomed ? extent(shown.map(({ row }) => row)) : undefined;
  const [start, end] = axis ?? [from, to];
  return (
    <>
      <div class="rowlink body legends">
        <div class="legend" aria-hidden="true">
          {Object.entries(KINDS).map(([kind, text]) => (
            <span key={kind}>
              <i class={`k-${kind}`} />
              {text}
            </span>
          ))}
        </div>
        <button type="button" aria-pressed={isZoomed} onClick={() => setZoomed(!isZoomed)}>
          Zoom to view
        </button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard. */}
      <section class="waterfall" ref={box} aria-label="Steps" tabIndex={0}>
        <ol style={{ height: `${total * ROW_PX}px`, paddingTop: `${first * ROW_PX}px` }}>
          {shown.map(({ index, row }) => (
            <li
              key={row?.type === "step" ? row.step.step : row ? `group ${row.path}` : index}
              style={{ height: `${ROW_PX}px` }}
            >
              {row?.type === "step" ? (
                <StepRow
                  {...{ index, row, start, end }}
                  isSelected={row.step.step === selected}
                  onSelect={onSelect}
                />
              ) : row ? (
                <div class="bar-row">
                  <span class="name" style={{ paddingLeft: `${row.depth * 14}px` }}>
                    <strong>{row.path.split("/").at(-1)}</strong>{" "}
                    <span class="tree">
                      {counted(row.steps, "step")}
                      {row.failed > 0 && `, ${row.failed} failed`}
                    </span>
                  </span>
                </div>
              ) : (
                <div class="bar-row muted">…</div>
              )}
            </li>
          ))}
        </ol>
      </section>
    </>
  );
}

interface StepRowProps {
  index: number;
  row: Extract<Row, { type: "step" }>;
  start: number;
  end: number;
  isSelected: boolean;
  onSelect: (step: Step) => void;
}

function StepRow({ index, row: { step, depth, name }, start, end, isSelected, onSelect }: StepRowProps) {
  const begun = millis(step.startedAt);
  const ended = millis(step.finishedAt) ?? end;
  const told = useMemo(() => titleOf(step, end), [step, end]);
  const scope = name.slice(0, name.lastIndexOf("/") + 1);
  return (
    <button
      type="button"
      class={`bar-row ${step.state}`}
      data-row
      data-index={index}
      data-failed={step.state === "failed" ? "" : undefined}
      aria-pressed={isSelected}
      title={told}
      onClick={() => onSelect(step)}
    >
      <span class="name" style={{ paddingLeft: `${depth * 14}px` }}>
        {step.state === "failed" && "✕ "}
        {step.reused && "↺ "}
        {scope && <span class="tree">{scope}</span>}
        {name.slice(scope.length)}
      </span>
      <span class="track">
        {step.spans.map((span) => (
          <i
            key={`${span.kind} ${span.from}`}
            class={`k-${span.kind}`}
            style={{
              left: `${share(span.from, start, end)}%`,
              width: `${share(span.to ?? end, start, end) - share(span.from, start, end)}%`,
            }}
          />
        ))}
        {step.state === "failed" && <b class="mark" style={{ left: `${share(ended, start, end)}%` }} />}
      </span>
      <span class="took">{duration(begun && ended - begun)}</span>
    </button>
  );
}

function share(at: number, start: number, end: number): number {
  return end <= start ? 0 : Math.min(100, Math.max(0, (100 * (at - start)) / (end - start)));
}

function titleOf(step: Step, end: number): string {
  const parts = timeByKind(step.spans, end).map(([kind, ms]) => `${KINDS[kind]} ${duration(ms)}`);
  return [`${step.step}: ${step.state}`, ...parts].join("\n");
}

/** What of a step's time went to each kind, the largest first. */
export function timeByKind(spans: readonly Span[], end: number): [Span["kind"], number][] {
  const sums = new Map<Span["kind"], number>();
  for (const { kind, from, to } of spans) sums.set(kind, (sums.get(kind) ?? 0) + (to ?? end) - from);
  return [...sums].sort((a, b) => b[1] - a[1]);
}

function extent(rows: readonly (Row | undefined)[]): [number, number] | undefined {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const row of rows) {
    if (row?.type !== "step") continue;
    from = Math.min(from, millis(row.step.startedAt) ?? from);
    to = Math.max(to, millis(row.step.finishedAt) ?? Date.now());
  }
  return to > from ? [from, to] : undefined;
}
