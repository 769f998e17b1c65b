import type { SignalEntry } from "../store/run-journal.ts";
import type { OpenStep } from "./step.ts";

/** A signal and its data. */
interface Brought {
  entry: SignalEntry;
  data: unknown;
}

/** A running function's waits for signals, and the signals that none of them has got. */
export class SignalWaits {
  readonly #early = new Map<string, Brought[]>();
  readonly #waiting = new Map<string, OpenStep[]>();
  /** By the id of a wait that had lost its race when the signal came: what it brought is for the next wait of its name. */
  readonly #inVain = new Map<string, Brought & { isNew: boolean }>();
  /** The ids of waits to be withdrawn. */
  readonly #withdrawn = new Set<string>();

  /** The step waits from now on, unless its signal has come before, which is returned then. */
  add(step: OpenStep): Brought | undefined {
    const name = step.subject ?? "";
    const early = this.#early.get(name)?.shift();
    if (!early) this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), step]);
    return early;
  }

  /** Returns the wait that gets the signal; undefined: it is for the next one of its name. @param isNew this is no replay */
  bring(brought: Brought, isNew: boolean): OpenStep | undefined {
    const { name } = brought.entry;
    const waiting = this.#waiting.get(name)?.filter((step) => !step.isEnded) ?? [];
    const step = waiting.shift();
    this.#waiting.set(name, waiting);
    if (!step) this.#early.set(name, [...(this.#early.get(name) ?? []), brought]);
    else if (step.listeners.haveLost) this.#inVain.set(step.id, { ...brought, isNew });
    return step;
  }

  /** A wait that lost its race would take the signal that is asked for now. */
  withdrawLosers(name: string, steps: Iterable<OpenStep>): void {
    for (const step of steps) {
      if (step.kind === "signal" && step.subject === name && step.listeners.haveLost)
        this.#withdrawn.add(step.id);
    }
    for (const [id, { entry, isNew }] of this.#inVain)
      if (entry.name === name && isNew) this.#withdrawn.add(id);
  }

  /** Returns the ids of waits to be withdrawn, once. */
  takeWithdrawn(isOpen: (id: string) => boolean): string[] {
    const ids = [...this.#withdrawn].filter((id) => isOpen(id) || this.#inVain.has(id));
    this.#withdrawn.clear();
    return ids;
  }

  /** Returns what a wait was brought that is withdrawn; undefined for nothing. */
  takeBack(id: string): Brought | undefined {
    const inVain = this.#inVain.get(id);
    this.#inVain.delete(id);
    return inVain;
  }

  /** Signals that no wait has got. */
  get unread(): SignalEntry[] {
    return [...[...this.#early.values()].flat(), ...this.#inVain.values()].map(({ entry }) => entry);
  }
}
