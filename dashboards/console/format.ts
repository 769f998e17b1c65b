const number = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(value: number | undefined | null): string {
  return value === undefined || value === null ? "–" : number.format(value);
}

/** `1 job`, `1,200 jobs`. */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${number.format(value)} ${value === 1 ? noun : plural}`;
}

/** `12.3K`. */
export function short(value: number | undefined | null): string {
  return value === undefined || value === null ? "–" : compact.format(value);
}

/** Small sums keep the digits that matter: `$0.000123`. */
export function usd(value: number | undefined | null): string {
  if (value === undefined || value === null) return "unknown";
  if (value === 0) return "$0";
  if (value >= 1)
    return `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  return `$${value.toPrecision(3).replace(/\.?0+$/, "")}`;
}

/** `350 ms`, `1.2 s`, `3 min 4 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms: number | undefined | null): string {
  if (ms === undefined || ms === null || Number.isNaN(ms)) return "–";
  if (ms < 0) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const at = units.findIndex(([, size]) => s >= size);
  const [name, size] = units[at] as [string, number];
  const [nextName, nextSize] = units[at + 1] as [string, number];
  const rest = Math.floor((s % size) / nextSize);
  return `${Math.floor(s / size)} ${name}${rest > 0 ? ` ${rest} ${nextName}` : ""}`;
}

type Time = number | string | Date | undefined | null;

export function millis(time: Time): number | undefined {
  if (time === undefined || time === null) return undefined;
  const ms = typeof time === "number" ? time : new Date(time).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}

/** The time of day, with the date when it is not today's. */
export function clock(time: Time): string {
  const ms = millis(time);
  if (ms === undefined) return "–";
  const date = new Date(ms);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${iso(ms).slice(0, 10)} `;
  return day + date.toLocaleTimeString("en-GB");
}

export function iso(time: Time): string {
  const ms = millis(time);
  return ms === undefined ? "" : new Date(ms).toISOString();
}

/** `12 s ago`, `in 3 min`. */
export function relative(time: Time, now = Date.now()): string {
  const ms = millis(time);
  if (ms === undefined) return "–";
  const difference = now - ms;
  if (Math.abs(difference) < 1000) return "now";
  return difference > 0 ? `${coarse(difference)} ago` : `in ${coarse(-difference)}`;
}

function coarse(ms: number): string {
  return duration(ms)
    .replace(/(\d+) (d|h|min) .*/, "$1 $2")
    .replace(/\.\d s$/, " s");
}

export function percent(part: number, whole: number): string {
  return whole <= 0 ? "–" : `${Math.round((100 * part) / whole)} %`;
}

/** JSON for people: texts stay texts. */
export function pretty(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
