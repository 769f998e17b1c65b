import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export interface Column<Row> {
  label: string;
  cell: (row: Row) => ComponentChildren;
  /** Numbers stand at the right. */
  isNumber?: boolean;
  /** Left out on narrow screens. */
  isWide?: boolean;
  /** Takes the room that is left. */
  grows?: boolean;
}

export interface TableProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  /** Where the row leads; its first cell is the link. */
  hrefOf?: ((row: Row) => string | undefined) | undefined;
  isFailed?: (row: Row) => boolean;
  empty?: ComponentChildren;
}

const ROW_PX = 33;
/** From so many rows on, only those in view are in the page. */
const MANY = 120;
const BEYOND = 15;

/** A table whose rows j and k walk through. */
export function Table<Row>({ label, columns, rows, keyOf, hrefOf, isFailed, empty }: TableProps<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const isLong = rows.length > MANY;
  const [first, last] = useWindow(box, rows.length, isLong);
  if (rows.length === 0) return <p class="empty">{empty ?? "Nothing here."}</p>;
  const shown = isLong ? rows.slice(first, last) : rows;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard.
    <section class={`table-box ${isLong ? "long" : ""}`} ref={box} aria-label={label} tabIndex={0}>
      <table aria-rowcount={rows.length + 1}>
        <thead>
          <tr>
            {columns.map(({ label: name, isNumber, isWide, grows }) => (
              <th key={name} scope="col" class={classes({ isNumber, isWide, grows })}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {isLong && first > 0 && <tr class="gap" style={{ height: `${first * ROW_PX}px` }} />}
          {shown.map((row, n) => {
            const href = hrefOf?.(row);
            return (
              <tr
                key={keyOf(row)}
                aria-rowindex={(isLong ? first : 0) + n + 2}
                data-row
                {...(isFailed?.(row) && { "data-failed": "" })}
              >
                {columns.map(({ label: name, cell, ...kind }, column) => (
                  <td key={name} class={classes(kind)}>
                    {column === 0 && href ? <a href={href}>{cell(row)}</a> : cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          {isLong && last < rows.length && (
            <tr class="gap" style={{ height: `${(rows.length - last) * ROW_PX}px` }} />
          )}
        </tbody>
      </table>
    </section>
  );
}

function classes({ isNumber, isWide, grows }: Partial<Column<unknown>>): string | undefined {
  const names = [isNumber && "number", isWide && "wide", grows && "grows"].filter(Boolean);
  return names.length > 0 ? names.join(" ") : undefined;
}

/** Returns which rows of a scrolled box are in view, and some beyond. */
export function useWindow(
  box: { current: HTMLElement | null },
  total: number,
  isOn = true,
  rowPx = ROW_PX,
): [number, number] {
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  useEffect(() => {
    const element = box.current;
    if (!element || !isOn) return;
    const measure = () => {
      setTop(element.scrollTop);
      setHeight(element.clientHeight);
    };
    measure();
    element.addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      element.removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, [isOn, total === 0]);
  // Steps of ten rows: a scroll by one row changes nothing then.
  const first = Math.max(0, Math.floor(top / rowPx / 10) * 10 - BEYOND);
  return [first, Math.min(total, first + Math.ceil(height / rowPx) + 10 + 2 * BEYOND)];
}
