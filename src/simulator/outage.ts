import { z } from "zod";

/**
 * What a call meets: `refuse` destroys its connection without an answer, `503` answers at once with that status,
 * `hang` answers nothing until the client gives up, even past the outage's end.
 */
const OUTAGE_KINDS = ["refuse", "503", "hang"] as const;
export type OutageKind = (typeof OUTAGE_KINDS)[number];

export const outageChangeSchema = z.strictObject({
  forMs: z.number().min(0),
  kind: z.enum(OUTAGE_KINDS).default("refuse"),
});
/** An outage of `forMs` milliseconds from now on; 0 ends the one under way. Default kind: `refuse`. */
export type OutageChange = z.input<typeof outageChangeSchema>;

/** A time in which every call of a model endpoint fails, before limits and faults see it. Times are monotonic. */
export class Outage {
  #kind: OutageKind = "refuse";
  #untilMs = Number.NEGATIVE_INFINITY;

  change({ forMs, kind }: z.output<typeof outageChangeSchema>, nowMs: number): void {
    this.#kind = kind;
    this.#untilMs = nowMs + forMs;
  }

  /** Returns the kind of the outage; undefined when there is none. */
  kindAt(nowMs: number): OutageKind | undefined {
    return nowMs < this.#untilMs ? this.#kind : undefined;
  }
}
