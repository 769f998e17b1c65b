import type { MetricValues } from "./metrics.ts";
import type { Labels } from "./metrics-catalog.ts";

/** What was observed of some labels: how many values each bucket has, the last one those above all bounds, and their sum. */
export interface Observed {
  counts: number[];
  sum: number;
}

/**
 * A histogram of Prometheus. It takes many values at once, which prom-client's cannot; in its registry it has the part of one.
 */
export class Histogram {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Observed & { labels: Labels }>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
  }

  /** Returns what has been observed of labels of which nothing has. */
  empty(): Observed {
    return { counts: new Array<number>(this.#bounds.length + 1).fill(0), sum: 0 };
  }

  /** Adds a value to what was observed. */
  observe(observed: Observed, value: number): void {
    let bucket = 0;
    while (value > (this.#bounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket++;
    observed.counts[bucket] = (observed.counts[bucket] ?? 0) + 1;
    observed.sum += value;
  }

  /** Adds what was observed of these labels to their series. */
  add(labels: Labels, { counts, sum }: Observed): void {
    const key = Object.values(labels).join("\n");
    const series = this.#series.get(key);
    if (!series) this.#series.set(key, { labels, counts: [...counts], sum });
    else {
      series.counts = series.counts.map((count, n) => count + (counts[n] ?? 0));
      series.sum += sum;
    }
  }

  /** As prom-client's registry asks for it. */
  async get(): Promise<MetricValues> {
    const values: MetricValues["values"] = [];
    for (const { labels, counts, sum } of this.#series.values()) {
      let total = 0;
      for (const [n, count] of counts.entries()) {
        total += count;
        const le = this.#bounds[n] ?? "+Inf";
        values.push({ labels: { le, ...labels }, value: total, metricName: `${this.name}_bucket` });
      }
      values.push({ labels: { ...labels }, value: sum, metricName: `${this.name}_sum` });
      values.push({ labels: { ...labels }, value: total, metricName: `${this.name}_count` });
    }
    return { name: this.name, help: this.help, type: this.type, values };
  }
}
