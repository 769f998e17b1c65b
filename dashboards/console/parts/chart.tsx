import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

interface Series {
  name: string;
  values: (number | null)[];
  /** A variable of the styles: `--span-model`. */
  color: string;
  isDashed?: boolean;
}

interface ChartProps {
  label: string;
  /** Epoch seconds. */
  times: number[];
  series: readonly Series[];
  format: (value: number) => string;
  /** Whether the times are days, and not times of a day. */
  isOfDays?: boolean;
}

const HEIGHT = 190;

function timeOfDay(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

function dayOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(5, 10);
}

/** Lines over time, with the same as a table for those who do not see them. */
export function Chart({ label, times, series, format, isOfDays = false }: ChartProps) {
  const timeText = isOfDays ? dayOf : timeOfDay;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const names = series.map(({ name }) => name).join();
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {
      stroke: color("--muted"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
    };
    const drawn = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: { y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
        axes: [
          { ...axis, space: 70, values: (_plot, ticks) => ticks.map(timeText) },
          { ...axis, size: 60, values: (_plot, ticks) => ticks.map(format) },
        ],
        series: [
          {},
          ...series.map(({ name, color: of, isDashed }) => ({
            label: name,
            stroke: color(of),
            width: 1.5,
            ...(isDashed && { dash: [5, 4] }),
            points: { show: false },
          })),
        ],
      },
      [times, ...series.map(({ values }) => values)] as uPlot.AlignedData,
      element,
    );
    plot.current = drawn;
    const resize = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    resize.observe(element);
    return () => {
      resize.disconnect();
      drawn.destroy();
    };
  }, [names]);
  useEffect(() => {
    plot.current?.setData([times, ...series.map(({ values }) => values)] as uPlot.AlignedData);
  }, [times, series]);
  return (
    <>
      <div class="legend body" aria-hidden="true">
        {series.map(({ name, color }) => (
          <span key={name}>
            <i style={{ background: `var(${color})` }} />
            {name}
          </span>
        ))}
      </div>
      <div class="chart" ref={box} aria-hidden="true" />
      <details class="body">
        <summary>The same as a table</summary>
        <table aria-label={label}>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {series.map(({ name }) => (
                <th key={name} scope="col" class="number">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {times.map((time, n) => (
              <tr key={time}>
                <td>{timeText(time)}</td>
                {series.map(({ name, values }) => (
                  <td key={name} class="number">
                    {values[n] == null ? "–" : format(values[n])}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </>
  );
}
