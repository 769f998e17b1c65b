/** The value of an expression of numbers, + - * / and brackets, by recursive descent; NaN for anything else. */
export function evaluate(expression: string): number {
  const tokens = expression.match(/\d+(?:\.\d+)?|\S/g) ?? [];
  const nextIs = (...operators: string[]) => operators.includes(tokens[0] ?? "");

  function sum(): number {
    let value = product();
    while (nextIs("+", "-")) value = tokens.shift() === "+" ? value + product() : value - product();
    return value;
  }
  function product(): number {
    let value = factor();
    while (nextIs("*", "/")) value = tokens.shift() === "*" ? value * factor() : value / factor();
    return value;
  }
  function factor(): number {
    const token = tokens.shift();
    if (token === "-") return -factor();
    if (token !== "(") return Number(token);
    const value = sum();
    return tokens.shift() === ")" ? value : Number.NaN;
  }

  const value = sum();
  return tokens.length === 0 ? value : Number.NaN;
}
