import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { typed } from "../../src/index.ts";

test("a typed function sees and returns what its schemas make, and stays as synchronous as it was", async () => {
  const area = typed(
    (width, height) => width * height,
    z.tuple([z.number(), z.coerce.number()]),
    z.number().positive(),
  );
  expectTypeOf(area).returns.toEqualTypeOf<number>();
  expect(area(2, "3")).toBe(6);
  const later = typed(
    async ({ day }: { day: Date }) => ({ year: day.getUTCFullYear(), secret: 1 }),
    z.object({ day: z.coerce.date<string>() }),
    z.object({ year: z.int() }),
  );
  expectTypeOf(later).returns.resolves.toEqualTypeOf<{ year: number }>();
  expect(await later({ day: "2026-11-30" })).toEqual({ year: 2026 });
});

test("what does not fit is named by its place, never by its value, and a wrong input calls nothing", async () => {
  let calls = 0;
  async function find({ name }: { name: string }) {
    calls += 1;
    return name as unknown as number;
  }
  const found = typed(find, z.object({ name: z.string().max(10) }), z.number());
  expect(() => found({ name: "a secret that is too long" })).toThrow(
    expect.objectContaining({
      code: "invalid_input",
      message: expect.stringMatching(/^find was called with .*: name: Too big/),
    }),
  );
  expect(calls).toBe(0);
  const error = await found({ name: "secret" }).catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ code: "invalid_output", message: expect.not.stringContaining("secret") });
});
