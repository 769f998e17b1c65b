import { modelRef } from "../../shared/model-name.ts";
import { compareBeginnings } from "../prompt-beginnings.ts";
import type { LaneGoods } from "./lane-ladder.ts";
import type { LaneRequests } from "./lane-requests.ts";
import { customIdOf, type LaneResults } from "./lane-results.ts";
import type { LaneRows } from "./lane-rows.ts";

/** Returns a batch's rows as what is bought. */
export function rowGoods(rows: LaneRows, requests: LaneRequests, results: LaneResults): LaneGoods {
  return {
    providerOf: (entry) => requests.providerOf(entry),
    async requestsOf(buy) {
      const model = modelRef(buy.entry, buy.model);
      const made: { customId: string; body: object }[] = [];
      // Rows that begin alike lie together, for the provider's prompt cache.
      for (const { row } of rows.of(buy).sort((a, b) => compareBeginnings(a.row, b.row))) {
        const request = await requests.of(model, row);
        if (request) made.push({ customId: customIdOf(buy, row), body: request.body });
      }
      return made;
    },
    namesOf: (buy) => new Set(rows.of(buy).map(({ row }) => customIdOf(buy, row))),
    readIn: (buy, provider, batch) => results.readIn(buy, provider, batch),
    lose: (buy) => results.loseRows(buy),
  };
}
