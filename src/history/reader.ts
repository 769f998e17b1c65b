import type { HistoryDatabase } from "./database.ts";
import { type HistoryPlace, openHistory } from "./open-history.ts";

/** The history of a process that asks it now and then: opened by the first question, again after a fault. */
export class HistoryReader {
  readonly #place: HistoryPlace;
  #opened: Promise<HistoryDatabase> | undefined;

  constructor(place: HistoryPlace) {
    this.#place = place;
  }

  /** @throws ConfigurationError as `openHistory`; Error of the engine */
  async ask<T>(question: (history: HistoryDatabase) => Promise<T>): Promise<T> {
    this.#opened ??= openHistory(this.#place);
    const opened = this.#opened;
    try {
      return await question(await opened);
    } catch (error) {
      // One that could not be opened is tried again by the next question.
      opened.catch(() => {
        if (this.#opened === opened) this.#opened = undefined;
      });
      throw error;
    }
  }

  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.close();
  }
}
