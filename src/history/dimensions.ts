import { InputError } from "../shared/errors.ts";
import type { SqlValue } from "./tables.ts";

/* By what the figures of the history are grouped, and of which time and whose they are. */

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** What a report is asked for. */
export interface ReportOptions {
  /** From this time on, in epoch milliseconds. Default: 24 hours before now. */
  since?: number;
  /** Before this time, in epoch milliseconds. Default: no end. */
  until?: number;
  /** By what the figures are grouped; each report has its own default. */
  by?: readonly string[];
  /** Of this tenant alone. Default: of all. */
  tenant?: string | undefined;
  /** Of this model alone, as `provider:model`. Default: of all. */
  model?: string | undefined;
  /** The most rows. Default: 1,000; at most 10,000. */
  limit?: number;
}

const MAX_ROWS = 10_000;
const DEFAULT_ROWS = 1000;

/** Columns to group by, as SQL; `time` is the table's time. */
export type Dimensions = Readonly<Record<string, (time: string) => string>>;

const column = (name: string) => () => `COALESCE(${name}, '')`;
const time = {
  day: (at: string) => `${at} / ${DAY_MS}`,
  hour: (at: string) => `${at} / ${HOUR_MS}`,
};
export const OF_CALLS: Dimensions = {
  ...{ model: column("model"), provider: column("provider"), tenant: column("tenant"), lane: column("lane") },
  ...{ batch: column("batch_id"), run: column("run_id"), ...time },
};
export const OF_ERRORS: Dimensions = {
  ...{ code: column("code"), category: column("category"), source: column("source") },
  ...{ model: column("subject"), tenant: column("tenant"), ...time },
};
export const OF_RUNS: Dimensions = {
  ...{ workflow: column("workflow"), state: column("state"), tenant: column("tenant"), ...time },
};

/** A part of a statement: what a report is grouped by and taken from. */
export class Scope {
  readonly parameters: SqlValue[] = [];
  readonly by: readonly string[];
  readonly where: string;
  readonly limit: number;
  readonly #dimensions: Dimensions;
  readonly #time: string;

  /** @throws InputError naming what the report cannot be grouped by */
  constructor(
    dimensions: Dimensions,
    timeColumn: string,
    defaults: readonly string[],
    options: ReportOptions,
  ) {
    const {
      since = Date.now() - DAY_MS,
      until,
      by = defaults,
      tenant,
      model,
      limit = DEFAULT_ROWS,
    } = options;
    const unknown = by.find((name) => !Object.hasOwn(dimensions, name));
    if (unknown !== undefined)
      throw new InputError(
        `this report cannot be grouped by "${unknown}"`,
        `group it by ${Object.keys(dimensions).join(", ")}`,
        "unknown_dimension",
      );
    this.by = [...new Set(by)];
    this.#dimensions = dimensions;
    this.#time = timeColumn;
    this.limit = Math.min(MAX_ROWS, limit);
    const conditions = [`${timeColumn} >= ${this.parameter(Math.floor(since))}`];
    if (until !== undefined) conditions.push(`${timeColumn} < ${this.parameter(Math.floor(until))}`);
    if (tenant !== undefined) conditions.push(`tenant = ${this.parameter(tenant)}`);
    if (model !== undefined && "model" in dimensions)
      conditions.push(`${dimensions === OF_ERRORS ? "subject" : "model"} = ${this.parameter(model)}`);
    this.where = conditions.join(" AND ");
  }

  /** Returns the place of a value in the statement. */
  parameter(value: SqlValue): string {
    return `$${this.parameters.push(value)}`;
  }

  /** What is grouped by, for SELECT: `by0, by1`. */
  get selected(): string {
    return this.by.map((name, i) => `${this.#dimensions[name]?.(this.#time)} AS by${i}`).join(", ");
  }

  /** The names of what is grouped by. */
  get names(): string {
    return this.by.map((_, i) => `by${i}`).join(", ");
  }

  get groupBy(): string {
    return `${this.by.length > 0 ? `GROUP BY ${this.names}` : ""} HAVING COUNT(*) > 0`;
  }

  get partition(): string {
    return this.by.length > 0 ? `PARTITION BY ${this.names}` : "";
  }

  /** The order of the groups: that of time where there is one, else by a figure, the greatest first. */
  order(figure: string): string {
    const isInTime = this.by.some((name) => name in time);
    return [...(isInTime ? [] : [`${figure} DESC`]), ...this.by.map((_, i) => `by${i}`)].join(", ");
  }

  /** Returns what a row is grouped by, as people write it: `day` is `2026-11-29`, `hour` is `2026-11-29T21:00Z`. */
  groupOf(row: Record<string, SqlValue>): Record<string, string> {
    return Object.fromEntries(
      this.by.map((name, i) => {
        const value = row[`by${i}`] ?? "";
        if (name === "day") return [name, new Date(Number(value) * DAY_MS).toISOString().slice(0, 10)];
        if (name === "hour")
          return [name, `${new Date(Number(value) * HOUR_MS).toISOString().slice(0, 16)}Z`];
        return [name, String(value)];
      }),
    );
  }
}
