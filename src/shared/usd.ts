/** `$1,234.50`, `$0.12`, `$0.0034`: cents, or the first two digits of less than ten cents. */
export function usd(amount: number): string {
  const digits = amount >= 0.1 || amount <= 0 ? 2 : Math.min(12, 1 - Math.floor(Math.log10(amount)));
  return `$${amount.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}
