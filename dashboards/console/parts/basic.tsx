import type { ComponentChildren } from "preact";
import type { ApiError } from "../api.ts";
import { clock, iso, percent, relative } from "../format.ts";
import type { Live } from "../live.ts";

const TONES: Record<string, string> = {
  ...{ succeeded: "ok", completed: "ok", active: "live", running: "live", in_progress: "live", closed: "ok" },
  ...{ failed: "bad", open: "bad", expired: "bad", cancelled: "off", cancelling: "warn", paused: "warn" },
  ...{
    waiting: "off",
    delayed: "warn",
    suspended: "warn",
    validating: "live",
    finalizing: "live",
    half_open: "warn",
  },
  ...{
    started: "ok",
    skipped: "off",
    missed: "warn",
    error: "bad",
    warning: "warn",
    lost: "bad",
    alive: "ok",
  },
};

/** A state in a word; the colour only says the same again. */
export function Badge({ state, tone }: { state: string; tone?: string }) {
  return <span class={`badge ${tone ?? TONES[state] ?? "off"}`}>{state.replaceAll("_", " ")}</span>;
}

/** How much of something is used; `whole` undefined: nobody knows. */
export function Meter({
  part,
  whole,
  label,
  isProgress = false,
  children,
}: {
  part: number;
  whole: number | undefined;
  label: string;
  /** To be full is the aim, and no warning. */
  isProgress?: boolean;
  children?: ComponentChildren;
}) {
  const share = whole ? Math.min(1, part / whole) : 0;
  const tone = isProgress || share < 0.75 ? "ok" : share < 0.95 ? "warn" : "bad";
  return (
    <span class="meter">
      {/* biome-ignore lint/a11y/useSemanticElements: browsers draw a meter each in their own way. */}
      <span
        class={`meter-bar ${tone}`}
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={whole ?? 0}
        aria-valuenow={Math.min(part, whole ?? 0)}
        aria-valuetext={whole ? percent(part, whole) : "no limit is known"}
      >
        <span style={{ width: `${share * 100}%` }} />
      </span>
      <span class="meter-text">{children}</span>
    </span>
  );
}

export function Panel({
  title,
  side,
  children,
  class: name = "",
}: {
  title?: ComponentChildren;
  side?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <section class={`panel ${name}`}>
      {(title || side) && (
        <header>
          {title && <h2>{title}</h2>}
          {side && <div class="side">{side}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

/** Names and values of one thing. */
export function Facts({ of }: { of: readonly (readonly [string, ComponentChildren])[] }) {
  const shown = of.filter(
    ([, value]) => value !== undefined && value !== null && value !== "" && value !== false,
  );
  return (
    <dl class="facts">
      {shown.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Time({ at, ago = false }: { at: number | string | undefined | null; ago?: boolean }) {
  if (at === undefined || at === null) return <span class="muted">–</span>;
  return (
    <time dateTime={iso(at)} title={iso(at)}>
      {ago ? relative(at) : clock(at)}
    </time>
  );
}

/** Leads to where traces are looked at, outside the console. */
export function TraceLink({ url }: { url: string | undefined }) {
  if (!url) return null;
  return (
    <a href={url} target="_blank" rel="noreferrer">
      Open the trace
    </a>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Why something is not shown, or not up to date. */
export function Fault({ error }: { error: ApiError | Error }) {
  const { message, hint, code } = error as ApiError;
  return (
    <p class="fault" role="alert">
      <strong>{message}</strong>
      {hint && <> – {hint}</>}
      {code && <code> {code}</code>}
    </p>
  );
}

/** What `useLive` brought: a wait, a fault, or the view of the data. */
export function Loaded<T>({ live, children }: { live: Live<T>; children: (data: T) => ComponentChildren }) {
  const { data, error } = live;
  return (
    <>
      {error && <Fault error={error} />}
      {data === undefined && !error && (
        <p class="empty" aria-busy="true">
          Loading…
        </p>
      )}
      {data !== undefined && children(data)}
    </>
  );
}

/** A text or JSON as it is, scripts in it included: it is text. */
export function Content({ title, value }: { title: string; value: unknown }) {
  if (value === undefined || value === null || value === "") return null;
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return (
    <figure class="content">
      <figcaption>{title}</figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard. */}
      <pre tabIndex={0}>{text}</pre>
    </figure>
  );
}
