import { withGeneratedPart } from "../../tools/generated-part.ts";
import { HOUR_MS, liveSeason, MINUTE_MS, type Season } from "./days.ts";

export const DEADLINES_MS = [0.5 * HOUR_MS, 2 * HOUR_MS, 6 * HOUR_MS, 14 * HOUR_MS];
export const SEASON: Omit<Season, "byMs"> = { days: 100, outageMs: 10 * MINUTE_MS };

const HEAD = [
  "`--by`",
  "cost of all-online",
  "days in time",
  "with the tier flex: cost",
  "its days in time",
  "all-online in time",
  "batch only, then hope: cost",
  "its days in time",
  "days dearer or later than all-online",
];

/** Returns the table of a season's days under each deadline. */
export function laneTable(season: Omit<Season, "byMs"> = SEASON): string {
  const rows = DEADLINES_MS.map((byMs) => {
    const { cost, inTime, worseDays } = liveSeason({ ...season, byMs });
    return [
      byMs < HOUR_MS ? `${byMs / MINUTE_MS} min` : `${byMs / HOUR_MS} h`,
      cost.by.toFixed(2),
      percent(inTime.by),
      cost.flex.toFixed(2),
      percent(inTime.flex),
      percent(inTime.online),
      cost.hope.toFixed(2),
      percent(inTime.hope),
      String(worseDays),
    ];
  });
  return [HEAD, HEAD.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

/** The text of a document with its table written anew. */
export function withLaneTable(text: string): string {
  return withGeneratedPart(text, "bench:lanes", laneTable());
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}
