import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import { type AlertState, claimAlert, readAlerts, releaseAlert, saveAlerts } from "../store/alert-state.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import { ElectedSweep } from "../store/elected-sweep.ts";
import { readFleetFigures } from "../store/fleet-figures.ts";
import { readOutcomes } from "../store/fleet-outcomes.ts";
import { announceAlert, asksForAlerts } from "../store/outbox.ts";
import type { Store } from "../store/store.ts";
import { ALERT_WINDOWS, type Finding, findings } from "./alert-rules.ts";
import { type AlertMessage, postAlert } from "./alert-webhook.ts";

const JUDGE_MS = 15_000;

interface JudgeOptions {
  store: Store;
  settings: Pick<Settings, "alerts" | "namespace" | "webhooks">;
  logger: Logger;
  clock: ClockWatch;
  /** From look to look; default 15 s. */
  everyMs?: number;
}

/**
 * Looks after the fleet, and tells what is wrong, and that it is over: where there is an address to tell, or a subscription to
 * `alert.*`. Every process has one; of those that have somebody to tell, one looks at a time.
 */
export class AlertJudge {
  readonly #options: JudgeOptions;
  readonly #sweep: ElectedSweep;

  constructor(options: JudgeOptions) {
    this.#options = options;
    const { store, settings, clock, everyMs = JUDGE_MS } = options;
    this.#sweep = new ElectedSweep({
      store,
      key: store.keys.alertSweep,
      everyMs,
      clock,
      isAsked: async () => settings.alerts.webhook !== undefined || asksForAlerts(store),
      sweep: () => this.#judge(),
    });
  }

  async #judge(now = Date.now()): Promise<void> {
    const { store, settings } = this.#options;
    const [figures, sums, states] = await Promise.all([
      readFleetFigures(store),
      readOutcomes(store, ALERT_WINDOWS),
      readAlerts(store),
    ]);
    if (!figures) return;
    const found = new Map(
      findings(figures, sums, settings.alerts).map((finding) => [keyOf(finding), finding]),
    );
    const alerts = new Set([...found.keys(), ...states.keys()]);
    const judged = [...alerts].map(async (alert) => {
      const { state = { isFiring: false }, text } = states.get(alert) ?? {};
      return { alert, text, state: await this.#next(alert, state, found.get(alert), now) };
    });
    if (judged.length > 0) await saveAlerts(store, await Promise.all(judged));
  }

  /** Tells what is new of an alert. Returns how it stands then; undefined: nothing need be kept of it. */
  async #next(
    alert: string,
    state: AlertState,
    finding: Finding | undefined,
    now: number,
  ): Promise<AlertState | undefined> {
    const { repeatMs } = this.#options.settings.alerts;
    const isTold = state.toldAt !== undefined && now - state.toldAt < repeatMs;
    if (!finding) {
      const [kind = "", subject = ""] = split(alert);
      const text = `${kind.replace("_", " ")}${subject && ` of ${subject}`}: over`;
      // What could not be told is told at the next look.
      const isFiring = state.isFiring && !(await this.#tell({ kind, subject, state: "resolved", text }, now));
      return isFiring || isTold ? { toldAt: state.toldAt, isFiring } : undefined;
    }
    const { kind, subject, value, limit, text, holdMs } = finding;
    const since = state.since ?? now;
    if (now - since < holdMs || isTold) return { ...state, since };
    const message = { kind, subject, state: "firing" as const, value, limit, since, text };
    return (await this.#tell(message, now)) ? { since, toldAt: now, isFiring: true } : { ...state, since };
  }

  /** Returns whether it was told: to the webhook, where there is one, and to who subscribed. */
  async #tell(told: Omit<AlertMessage, "namespace" | "at">, at: number): Promise<boolean> {
    const { store, settings, logger } = this.#options;
    const { webhook } = settings.alerts;
    const { kind, subject, state, text } = told;
    const alert = keyOf(told);
    if (!(await claimAlert(store, alert, { state, repeatMs: settings.alerts.repeatMs }))) return true;
    logger[state === "firing" ? "warn" : "info"]({ alert: kind, subject }, text);
    const message = { ...told, namespace: settings.namespace, at };
    const fault = webhook && (await postAlert(webhook, message, settings.webhooks));
    if (fault) {
      // An address may hold a secret: it is not told.
      logFault(logger, fault, {}, "an alert could not be sent; it is tried again");
      await releaseAlert(store, alert);
      return false;
    }
    const labels: Record<string, string> = subject ? { queue: subject } : {};
    const figures = { name: kind, severity: "warning", summary: text, labels };
    await announceAlert(store, { id: `${kind}:${subject}`, state, ...figures });
    return true;
  }

  async close(): Promise<void> {
    await this.#sweep.close();
  }
}

function keyOf({ kind, subject }: { kind: string; subject: string }): string {
  return `${kind}:${subject}`;
}

function split(alert: string): [string, string] {
  const at = alert.indexOf(":");
  return [alert.slice(0, at), alert.slice(at + 1)];
}
