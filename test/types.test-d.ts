import { expectTypeOf } from "vitest";
import { z } from "zod";
import {
  type CompletionEvent,
  type CompletionHandle,
  type CompletionResult,
  complete,
  type Executor,
  enqueue,
  type GlueLLM,
  RequestConfig,
  SimpleExecutor,
  stream,
  structuredComplete,
  type ToolCall,
} from "../src/index.ts";

/*
 * Checked by the compiler, never run: what a caller's editor knows of each answer.
 */

const Person = z.object({ name: z.string(), age: z.int().default(0) });
const Place = z.object({ city: z.string() });
type Person = { name: string; age: number };
type Place = { city: string };

export async function answersHaveTheTypeOfTheSchema(glue: GlueLLM) {
  for (const callee of [glue, { complete, enqueue, stream, structuredComplete }]) {
    expectTypeOf(await callee.complete("x", { schema: Person })).toEqualTypeOf<CompletionResult<Person>>();
    expectTypeOf(await callee.complete("x")).toEqualTypeOf<CompletionResult<unknown>>();
    expectTypeOf(await callee.structuredComplete("x", { schema: Person })).toEqualTypeOf<Person>();
    expectTypeOf((await callee.enqueue("x", { schema: Person })).result).returns.resolves.toEqualTypeOf<
      CompletionResult<Person>
    >();
    for await (const event of callee.stream("x", { schema: Person }))
      expectTypeOf(event).toEqualTypeOf<CompletionEvent<Person>>();
    // @ts-expect-error A structured answer needs a schema.
    await callee.structuredComplete("x", {});
    // @ts-expect-error No such option.
    await callee.complete("x", { maxToken: 5 });
  }
}

export async function configurationsCarryIt(glue: GlueLLM) {
  const config = new RequestConfig("x", { schema: Person });
  expectTypeOf(config.with({ message: "y", maxTokens: 5 })).toEqualTypeOf<RequestConfig<typeof Person>>();
  const other = config.with({ schema: Place });
  expectTypeOf(other).toEqualTypeOf<RequestConfig<typeof Place>>();
  expectTypeOf(await complete(config)).toEqualTypeOf<CompletionResult<Person>>();
  expectTypeOf(await structuredComplete(other)).toEqualTypeOf<Place>();
  expectTypeOf(await glue.structuredComplete(other)).toEqualTypeOf<Place>();
  expectTypeOf(await enqueue(config)).toEqualTypeOf<CompletionHandle<typeof Person>>();
  for await (const event of stream(config)) expectTypeOf(event).toEqualTypeOf<CompletionEvent<Person>>();
}

export async function executorsKeepIt(glue: GlueLLM) {
  const executor = new SimpleExecutor(glue, { schema: Person });
  expectTypeOf(executor).toExtend<Executor<Person>>();
  expectTypeOf((await executor.execute("x")).output).toEqualTypeOf<Person>();
  expectTypeOf((await new SimpleExecutor(glue.conversation()).execute("x")).output).toBeUnknown();
  expectTypeOf((await glue.complete("x", { executeTools: false })).toolCalls).toEqualTypeOf<ToolCall[]>();
}
