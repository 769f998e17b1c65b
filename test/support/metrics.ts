/** A series of a page in Prometheus' text format. */
export interface Series {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads a page. */
export function parsePage(text: string): Series[] {
  return text.split("\n").flatMap((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) return [];
    const pairs = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = Object.fromEntries(pairs.map(([, name = "", value = ""]) => [name, value]));
    return [{ name: match[1] ?? "", labels, value: Number(match[3]) }];
  });
}

/** Returns the sum of the series of a name whose labels fit. */
export function sumOf(series: readonly Series[], name: string, labels: Record<string, string> = {}): number {
  const fits = (one: Series) =>
    one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value);
  return series.filter(fits).reduce((sum, { value }) => sum + value, 0);
}

/** Scrapes an address. */
export async function scrape(url: string, headers: Record<string, string> = {}): Promise<Series[]> {
  const response = await fetch(url, { headers });
  if (response.status !== 200)
    throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return parsePage(await response.text());
}
