import type { z } from "zod";
import { GlueError, InputError } from "../shared/errors.ts";

/** What a function with a schema of its input takes: the values of a tuple one by one, anything else as one argument. */
type Args<Given> = Given extends readonly unknown[] ? [...Given] : [Given];

/**
 * Returns the function with its input and output checked by schemas: it sees what the schema of the input makes of the arguments, and its
 * caller what that of the output makes of the result. A schema that is a tuple stands for several arguments. It stays synchronous when it was.
 *
 * ```ts
 * const area = typed((width, height) => width * height, z.tuple([z.number(), z.number()]), z.number().positive());
 * ```
 * @throws InputError (`invalid_input`) naming the places in the arguments, which are not called then; GlueError (`invalid_output`) naming those
 * in the result. No value stands in the message.
 */
export function typed<
  In extends z.ZodType,
  Out extends z.ZodType,
  Result extends z.input<Out> | Promise<z.input<Out>>,
>(
  fn: (...args: Args<z.output<In>>) => Result,
  input: In,
  output: Out,
): (...args: Args<z.input<In>>) => Result extends Promise<unknown> ? Promise<z.output<Out>> : z.output<Out> {
  const what = fn.name || "the function";
  const isTuple = input.type === "tuple";
  const toOutput = (result: unknown) => {
    const parsed = output.safeParse(result);
    if (parsed.success) return parsed.data;
    throw new GlueError({
      code: "invalid_output",
      category: "internal",
      message: `${what} returned what its schema does not take: ${placesOf(parsed.error)}`,
    });
  };
  const checked = (...args: unknown[]) => {
    const parsed = input.safeParse(isTuple ? args : args[0]);
    if (!parsed.success)
      throw new InputError(
        `${what} was called with what its schema does not take: ${placesOf(parsed.error)}`,
      );
    const taken = (isTuple ? parsed.data : [parsed.data]) as Args<z.output<In>>;
    const result: unknown = fn(...taken);
    return result instanceof Promise ? result.then(toOutput) : toOutput(result);
  };
  return Object.defineProperty(checked, "name", { value: fn.name }) as never;
}

function placesOf({ issues }: z.ZodError): string {
  return issues
    .slice(0, 10)
    .map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message))
    .join("; ");
}
