import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import type { Effect } from "./effect.ts";
import type { Execution } from "./execution.ts";
import type { Asking } from "./listeners.ts";
import type { Seeds } from "./seeds.ts";
import { refuseWithinWork } from "./within-work.ts";

const DIGEST_CHARS = 12;
/** # and / tell occurrences and scopes. */
const STEP_NAME = /^[^#/\n]{1,100}$/;

export interface StepAskerOptions {
  execution: Execution;
  seeds: Seeds;
  /** How often each name was used; branches share it. */
  counts: Map<string, number>;
}

/** Asks for steps, each under an id that is its own in the run. */
export class StepAsker {
  readonly #options: StepAskerOptions;
  /** Begins all ids: of the part of the run, and of the branch. */
  readonly scope: string;

  constructor(options: StepAskerOptions, scope: string) {
    this.#options = options;
    this.scope = scope;
  }

  /** @param question what, beside its subject, must be the same in a replay */
  ask<T>(name: string, question: string, effect: Effect, { subject, signal, listeners }: Asking): Promise<T> {
    if (!STEP_NAME.test(name)) {
      throw new InputError(`"${name}" cannot name a step`, "use up to 100 characters without # and /");
    }
    refuseWithinWork(`step "${name}"`);
    const { execution, seeds } = this.#options;
    const digest = sha256(`${subject ?? ""}\n${question}`).slice(0, DIGEST_CHARS);
    const id = this.nextId(name);
    seeds.onAsk(id, execution.seen);
    const asked = execution.ask({ id, kind: effect.kind, digest, subject, effect, listeners });
    if (signal?.aborted) execution.cancel(id);
    signal?.addEventListener("abort", () => execution.cancel(id), { once: true });
    return asked as Promise<T>;
  }

  /** `scope/name`, from its second use on `scope/name#2`. */
  nextId(name: string): string {
    const { counts } = this.#options;
    const path = `${this.scope}${name}`;
    const count = (counts.get(path) ?? 0) + 1;
    counts.set(path, count);
    return count === 1 ? path : `${path}#${count}`;
  }
}
